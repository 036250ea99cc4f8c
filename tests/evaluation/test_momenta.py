"""Bias, resolution and tails of told momenta."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_results import reread

from pipeline.evaluation.momenta import evaluate_momenta


def told(true, seed=0, resolution=0.05, bias=0.0):
    return true * (1 + bias + resolution * np.random.default_rng(seed).normal(size=len(true)))


def spectrum(tracks, seed=9):
    return np.random.default_rng(seed).exponential(1.0, tracks) + 0.2


def test_what_was_put_in_is_found():
    true = spectrum(50_000)
    look = evaluate_momenta(true, told(true, resolution=0.05, bias=0.02), seed=1)
    assert look.scores["relative_bias"] == pytest.approx(0.02, abs=0.001)
    assert look.scores["resolution"] == pytest.approx(0.05, rel=0.02)
    assert look.scores["tail_fraction"] == pytest.approx(0.0027, rel=0.3)
    assert set(look.scores) == set(look.intervals) == set(look.about)


def test_scores_by_hand():
    ratio = np.array([0.8, 0.9, 1.0, 1.1, 5.0])
    found = evaluate_momenta(np.full(5, 2.0), 2 * ratio, seed=1).scores
    assert found["relative_bias"] == pytest.approx(0)
    low, high = np.quantile(ratio, [0.16, 0.84])
    assert found["resolution"] == pytest.approx((high - low) / 2)
    assert found["rms_log_ratio"] == pytest.approx(np.sqrt(np.mean(np.log(ratio) ** 2)))
    assert found["tail_fraction"] == 1 / 5


def test_intervals_have_the_width_of_many_repetitions():
    true = spectrum(400)
    looks = [
        evaluate_momenta(true, told(true, seed), seed=seed, resamples=300) for seed in range(150)
    ]
    for name in ("relative_bias", "resolution", "rms_log_ratio"):
        spread = np.std([look.scores[name] for look in looks])
        half = np.median([np.diff(look.intervals[name])[0] / 2 for look in looks])
        assert half == pytest.approx(spread, rel=0.25)


def test_the_curve_tells_where_the_resolution_is_worse():
    true = spectrum(20_000)
    worse = true * np.exp(0.05 * true * np.random.default_rng(0).normal(size=len(true)))
    (curve,) = evaluate_momenta(true, worse, seed=1).curves
    assert len(curve.x) == 12
    assert curve.y == pytest.approx(0.05 * np.array(curve.x), rel=0.35)
    assert (np.diff(curve.y) > 0).all()
    assert (np.array(curve.low) < curve.y).all()
    assert (np.array(curve.high) > curve.y).all()


def test_one_track_is_evaluated_too(tmp_path):
    look = evaluate_momenta(np.array([1.0]), np.array([1.1]), seed=1)
    assert look.scores["relative_bias"] == pytest.approx(0.1)
    assert look.scores["resolution"] == 0
    assert reread(look, tmp_path)[0].scores == look.scores


tracks = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(tracks, st.floats(0.01, 100))
def test_the_unit_and_the_order_do_not_matter(pairs, unit):
    true, found = np.array(pairs).T
    one = evaluate_momenta(true, found, seed=1, resamples=5).scores
    other = evaluate_momenta(unit * true[::-1], unit * found[::-1], seed=1, resamples=5).scores
    for name in ("relative_bias", "resolution", "rms_log_ratio"):
        assert other[name] == pytest.approx(one[name], abs=1e-9, rel=1e-6)


def test_the_seed_decides_the_intervals():
    true = spectrum(100)
    first, again, other = (evaluate_momenta(true, told(true), seed=each) for each in (1, 1, 2))
    assert first.intervals == again.intervals
    assert first.intervals != other.intervals


@pytest.mark.parametrize(
    ("true", "found", "message"),
    [
        ([1.0, 0.0], [1.0, 1.0], "true_pt: row 1 holds 0.0; expected GeV above zero"),
        ([1.0, 1.0], [1.0, -2.0], "predicted_pt: row 1 holds -2.0; expected GeV above zero"),
        ([1.0], [np.nan], "predicted_pt: row 0 holds nan"),
        ([1.0], [np.inf], "predicted_pt: row 0 holds inf"),
        ([1.0], [1.0, 2.0], r"predicted_pt: float64 of shape \(2,\); expected \(1,\), one track"),
        ([], [], r"true_pt: float64 of shape \(0,\); expected .* one track or more"),
    ],
)
def test_what_is_no_momentum_is_refused(true, found, message):
    with pytest.raises(ValueError, match=message):
        evaluate_momenta(np.array(true), np.array(found), seed=1)
