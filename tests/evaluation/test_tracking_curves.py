"""Efficiency and fake rate by pT and η, all rules on an event made by hand, and what scales how."""

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.metrics import adjusted_rand_score

from pipeline.evaluation.contingency import contingency
from pipeline.evaluation.intervals import of_fraction
from pipeline.evaluation.matching import FM4NPP, STYLES, Rule, match
from pipeline.evaluation.track_curves import efficiency_curves
from pipeline.evaluation.tracking import evaluate_events, under_all_rules
from pipeline.evaluation.tracks import evaluate_tracks

few = settings(max_examples=40, deadline=None)


def rows(*groups):
    """(true, predicted, pT, η) of as many points each."""
    table = [row for *row, points in groups for _ in range(points)]
    true, predicted, pt, eta = (np.array(column) for column in zip(*table, strict=True))
    return (true, predicted, np.array([0, len(true)])), {"pt_gev": pt, "eta": eta}


# Particle 1 and 2 in one track that is 60/40, particle 3 split in two, 4 whole, noise in a track.
EVENT = rows(
    (1, 1, 0.5, 0.1, 6),
    (2, 1, 1.1, -0.1, 4),
    (3, 2, 2.9, 0.5, 5),
    (3, 3, 2.9, 0.74, 5),
    (4, 4, 9.0, -1.0, 8),
    (0, 5, np.nan, 0.55, 4),
    (0, 0, np.nan, 2.0, 9),
)


def test_all_rules_on_an_event_made_by_hand():
    """Four particles. Track 1 is 60 % particle 1; 2 and 3 are half of particle 3 each, and pure."""
    found = under_all_rules(*EVENT[0])
    expected = {
        # Of particles 1, 3, 4 some track is a majority; 3 has two. Of five tracks noise is fake.
        "ATLAS": (3 / 4, 4 / 5, 1 / 5, 1 / 3),
        # No track holds a majority of particle 3; that of 2 is not the track's.
        "one_way": (3 / 4, 4 / 5, 1 / 5, 0),
        "two_way": (2 / 4, 2 / 5, 3 / 5, 0),
    }
    names = ("track_efficiency", "track_purity", "fake_rate", "duplicate_rate")
    for style, values in expected.items():
        assert [found[f"{name}_{style}"] for name in names] == pytest.approx(values)
    assert len(found) == 12


def test_all_rules_are_those_of_one_at_a_time():
    found = under_all_rules(*EVENT[0], rule=Rule(min_particle_points=5, fraction=0.55))
    for style in STYLES:
        one = evaluate_events(
            *EVENT[0], rule=Rule(style=style, min_particle_points=5, fraction=0.55), resamples=2
        )
        assert found[f"track_efficiency_{style}"] == one.track_efficiency
        assert found[f"fake_rate_{style}"] == one.fake_rate


def test_fm4npp_asks_for_four_shared_points():
    (true, predicted, offsets), _ = rows((1, 1, 1, 0, 3), (2, 2, 1, 0, 4), (0, 1, 1, 0, 1))
    table = contingency(np.zeros(len(true), int), true, predicted, events=1)
    found = match(table, FM4NPP)
    assert (found.particles[0], found.reconstructed[0], found.tracks[0]) == (2, 1, 2)
    assert evaluate_events(true, predicted, offsets, resamples=2).track_efficiency == 1


def curves(**options):
    found = efficiency_curves(*EVENT[0], **EVENT[1] | options)
    return {curve.name: dict(zip(np.round(curve.x, 3), curve.y, strict=True)) for curve in found}


def test_efficiency_by_pt_by_hand():
    found = curves(rule=Rule(style="ATLAS"))["efficiency by pT"]
    assert found == {0.5: 1, 1.1: 0, 2.9: 1}  # 9 GeV is in the last bin, which is open
    assert curves()["efficiency by pT"] == {0.5: 1, 1.1: 0, 2.9: 0.5}


def test_particles_of_unknown_momentum_are_in_no_bin():
    pt = np.where(EVENT[0][0] == 2, 0.0, EVENT[1]["pt_gev"])
    assert curves(pt_gev=pt)["efficiency by pT"] == {0.5: 1, 2.9: 0.5}


def test_all_that_is_said_of_tracks_is_one_look():
    look = evaluate_tracks(*EVENT[0], seed=1, **EVENT[1])
    assert look.scores["track_efficiency"] == 0.5
    assert look.scores["track_efficiency_ATLAS"] == 0.75
    assert look.about["fake_rate_ATLAS"].endswith("a majority of the track's points is enough")
    assert set(look.scores) == set(look.about)
    assert len(look.curves) == 3
    assert evaluate_tracks(*EVENT[0], seed=1).curves == []


def test_efficiency_and_fakes_by_eta_by_hand():
    """Edges from −1 to 1; the mean η of track 1 is (6 × 0.1 − 4 × 0.1)/10."""
    found = curves()
    assert found["efficiency by η"] == {-0.933: 1, -0.133: 0, 0.133: 1, 0.667: 0}
    assert found["fake rate by η"] == {-0.933: 0, 0: 0, 0.533: 1, 0.8: 1}
    assert curves(rule=Rule(style="ATLAS"))["fake rate by η"][0.533] == 0.5


def test_only_what_is_known_is_drawn():
    assert list(curves(eta=None)) == ["efficiency by pT"]
    assert list(curves(pt_gev=None)) == ["efficiency by η", "fake rate by η"]
    assert curves(pt_gev=None, eta=None) == {}


def test_without_particles_there_are_no_points():
    arguments, known = rows((0, 0, 1.0, 0.0, 5))
    assert [list(curve.x) for curve in efficiency_curves(*arguments, **known)] == [[], [], []]


def test_intervals_are_those_of_clopper_and_pearson():
    passed, total = np.array([0, 3, 10, 0]), np.array([10, 10, 10, 0])
    low, high = of_fraction(passed, total)
    assert low[1] == pytest.approx(beta.ppf(0.16, 3, 8))
    assert high[1] == pytest.approx(beta.ppf(0.84, 4, 7))
    assert (low[0], high[2]) == (0, 1)
    assert high[0] == pytest.approx(1 - 0.16 ** (1 / 10))
    assert np.isnan([low[3], high[3]]).all()


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_they_hold_the_truth_in_68_cases_of_100_or_more(share):
    passed = np.random.default_rng(1).binomial(40, share, 4000)
    low, high = of_fraction(passed, np.full(4000, 40))
    assert np.mean((low <= share) & (share <= high)) > 0.67


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pt_gev", -1.0, "pt_gev: row 3 holds -1.0; expected a finite number from 0, for points"),
        ("pt_gev", np.nan, "pt_gev: row 3 holds nan"),
        ("eta", np.inf, "eta: row 3 holds inf; expected a finite number"),
    ],
)
def test_a_point_that_has_no_such_value_is_named(name, value, message):
    changed = EVENT[1][name].copy()
    changed[3] = value
    with pytest.raises(ValueError, match=message):
        efficiency_curves(*EVENT[0], **{name: changed})


@pytest.mark.parametrize("name", ["pt_gev", "eta"])
def test_values_are_one_per_point(name):
    with pytest.raises(ValueError, match=rf"{name}: float64 of shape \(2,\); expected \(41,\)"):
        efficiency_curves(*EVENT[0], **{name: np.zeros(2)})


events = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40),
    min_size=1,
    max_size=4,
)


def arrays(lists):
    true, predicted = np.array([row for each in lists for row in each]).T
    return true, predicted, np.cumsum([0, *map(len, lists)])


def told(true, predicted, offsets, pt, eta):
    scores = evaluate_events(true, predicted, offsets, resamples=3)
    drawn = efficiency_curves(true, predicted, offsets, pt_gev=pt, eta=eta)
    values = [scores.ari, scores.ari_pooled, scores.hit_purity, scores.duplicate_rate]
    values += under_all_rules(true, predicted, offsets).values()
    return np.array([*values, *(y for curve in drawn for y in curve.y)])


@few
@given(events, st.permutations(range(1, 6)), st.permutations(range(1, 6)), st.integers(0, 99))
def test_neither_labels_nor_the_order_of_points_matter(lists, one, other, seed):
    true, predicted, offsets = arrays(lists)
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(np.arange(*ends)) for ends in pairwise(offsets)])
    pt, eta = true + 0.1, np.sin(np.arange(len(true)).astype(float))  # of a particle and a point
    renamed = np.array([0, *one])[true], np.array([0, *other])[predicted]
    shuffled = (renamed[0][order], renamed[1][order], offsets, pt[order], eta[order])
    before, after = told(true, predicted, offsets, pt, eta), told(*shuffled)
    assert after == pytest.approx(before, nan_ok=True)


def large(number, points=100):
    """Events of ten particles, most points of which are in their own track."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 11, number * points)
    predicted = np.where(rng.uniform(size=len(true)) < 0.9, true, rng.integers(0, 11, len(true)))
    return true, predicted, np.arange(0, len(true) + 1, points)


def seconds(call):
    """The least of three."""
    found = []
    for _ in range(3):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return min(found)


def test_twice_the_events_take_about_twice_as_long():
    def scored(true, predicted, offsets):
        evaluate_events(true, predicted, offsets, resamples=100)
        under_all_rules(true, predicted, offsets)
        efficiency_curves(true, predicted, offsets, pt_gev=true + 0.1, eta=np.ones(len(true)))

    small, twice = large(1000), large(2000)
    assert seconds(lambda: scored(*twice)) < 3.5 * seconds(lambda: scored(*small))


def test_all_scores_are_faster_than_the_index_alone_event_by_event():
    true, predicted, offsets = large(500)
    ends = list(pairwise(offsets))
    slow = seconds(lambda: [adjusted_rand_score(true[a:b], predicted[a:b]) for a, b in ends])
    assert seconds(lambda: evaluate_events(true, predicted, offsets, resamples=100)) < slow / 3
