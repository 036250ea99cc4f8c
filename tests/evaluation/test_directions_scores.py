"""Opening angles between true and told directions, by hand and against numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from made_results import reread

from pipeline.evaluation.directions import evaluate_directions, opening_angles

X, Y, Z = np.eye(3)
ENDLESS = np.array([[np.inf, 0, 0]])


def directions(events, seed=0):
    return np.random.default_rng(seed).normal(size=(events, 3))


def turned(angles):
    """Vectors that far from x, towards y."""
    return np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=1)


def test_angles_by_hand():
    true = np.stack([X, X, X, Z])
    told = np.stack([2 * X, Y, -3 * X, Y + Z])
    found = evaluate_directions(true, told, seed=1).scores
    assert found["mean_angle_rad"] == pytest.approx((0 + 90 + 180 + 45) / 4 * np.pi / 180)
    assert found["median_deg"] == pytest.approx(67.5)
    assert found["std_deg"] == pytest.approx(np.std([0, 90, 180, 45]))


@pytest.mark.parametrize("angle", [1e-12, 1e-8, 1e-3, np.pi - 1e-8])
def test_small_angles_are_exact(angle):
    assert opening_angles(X[None], turned(np.array([angle])))[0] == pytest.approx(angle, rel=1e-6)


def test_percentiles_are_those_of_numpy():
    angles = np.random.default_rng(3).exponential(0.2, 500).clip(0, 3)
    found = evaluate_directions(np.tile(X, (500, 1)), turned(angles), seed=1).scores
    for name, level in (("median", 50), ("p68", 68), ("p90", 90), ("p95", 95)):
        assert found[f"{name}_deg"] == pytest.approx(np.percentile(np.degrees(angles), level))


def test_intervals_have_the_width_of_many_repetitions():
    def scores(seed):
        angles = np.random.default_rng(seed).exponential(0.2, 400)
        return evaluate_directions(np.tile(X, (400, 1)), turned(angles), seed=seed, resamples=300)

    names = ("mean_angle_rad", "median_deg", "p68_deg", "p90_deg", "std_deg")
    looks = [scores(seed) for seed in range(150)]
    for name in names:
        spread = np.std([look.scores[name] for look in looks])
        half = np.median([np.diff(look.intervals[name])[0] / 2 for look in looks])
        assert half == pytest.approx(spread, rel=0.25)


def test_a_baseline_has_scores_and_a_histogram_beside_the_others(tmp_path):
    true = directions(300)
    told, baseline = true + 0.1 * directions(300, 1), true + directions(300, 2)
    look = evaluate_directions(true, told, seed=1, baseline=baseline)
    assert look.scores["median_deg"] < look.scores["baseline_median_deg"]
    assert set(look.scores) == set(look.intervals) == set(look.about)
    assert [each.name for each in look.curves] == ["opening angle", "baseline opening angle"]
    (histogram,) = look.histograms
    assert sum(histogram.true) == sum(histogram.made) == 300
    assert histogram.made[0] > histogram.true[0]
    assert reread(look, tmp_path)[1].histograms == tuple(look.histograms)


def test_without_one_there_is_nothing_beside_it():
    look = evaluate_directions(directions(20), directions(20, 1), seed=1)
    assert not look.histograms
    assert len(look.curves) == 1


def test_the_curve_rises_to_all_events_at_the_largest_angle():
    look = evaluate_directions(np.tile(X, (3, 1)), turned(np.array([0.1, 0.2, 0.3])), seed=1)
    (curve,) = look.curves
    assert (curve.y[0], curve.y[-1]) == (0, 1)
    assert curve.x[-1] == pytest.approx(np.degrees(0.3))
    assert (np.diff(curve.x) >= 0).all()


few = settings(max_examples=40, deadline=None)
vectors = npst.arrays(
    float, (5, 3), elements=st.floats(-1e3, 1e3).filter(lambda x: x == 0 or abs(x) > 1e-3)
).filter(lambda each: (np.abs(each).max(1) > 0).all())


@few
@given(vectors, vectors, st.floats(1e-150, 1e150))
def test_lengths_and_sides_do_not_matter(true, told, length):
    one = evaluate_directions(true, told, seed=1, resamples=5).scores
    other = evaluate_directions(told, true * length, seed=1, resamples=5).scores
    assert other == pytest.approx(one, abs=1e-6)
    assert 0 <= one["mean_angle_rad"] <= np.pi


@few
@given(vectors, vectors, st.permutations(range(5)))
def test_the_order_of_events_does_not_matter(true, told, order):
    one = evaluate_directions(true, told, seed=1, resamples=5).scores
    assert evaluate_directions(true[order], told[order], seed=1, resamples=5).scores == (
        pytest.approx(one)
    )


def test_the_seed_decides_the_intervals():
    true, told = directions(50), directions(50, 1)
    first, again, other = (evaluate_directions(true, told, seed=each) for each in (1, 1, 2))
    assert first.intervals == again.intervals
    assert first.intervals != other.intervals


def test_very_many_events_are_drawn_in_groups():
    true = np.tile(X, (30_000, 1))
    angles = np.random.default_rng(3).exponential(0.2, 30_000).clip(0, 3)
    look = evaluate_directions(true, turned(angles), seed=1, resamples=300)
    low, high = look.intervals["mean_angle_rad"]
    assert (high - low) / 2 == pytest.approx(angles.std() / np.sqrt(30_000), rel=0.15)


@pytest.mark.parametrize(
    ("true", "told", "baseline", "message"),
    [
        (
            X[None],
            np.zeros((1, 3)),
            None,
            "predicted: row 0 holds .*; expected a vector longer than",
        ),
        (np.array([X, X * np.nan]), np.array([X, X]), None, "true: row 1 holds .nan.* finite"),
        (
            X[None],
            X[None],
            ENDLESS,
            "baseline: row 0 holds .*; expected finite numbers",
        ),
        (
            X[None],
            np.array([X, X]),
            None,
            r"predicted: float64 of shape \(2, 3\); expected \(1, 3\)",
        ),
        (np.empty((0, 3)), np.empty((0, 3)), None, r"true: .* \(0, 3\); expected .* one event"),
        (X[None, :2], X[None], None, r"true: float64 of shape \(1, 2\)"),
    ],
)
def test_what_is_no_direction_is_refused(true, told, baseline, message):
    with pytest.raises(ValueError, match=message):
        evaluate_directions(true, told, seed=1, baseline=baseline)
