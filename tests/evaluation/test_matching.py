import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.contingency import contingency
from pipeline.evaluation.matching import Rule, match

# Written by hand, as (particle, track, points). Particle 1 gives 6 of its 10 points to track 1,
# which holds 4 of particle 2's besides: a track that is 60/40.
MIXED = [(1, 1, 6), (1, 0, 4), (2, 1, 4), (2, 2, 6)]
# A particle of 12 points split into two tracks of 6, both pure.
SPLIT = [(1, 1, 6), (1, 2, 6)]
# A particle of 5 points inside a track that is mostly noise.
BURIED = [(1, 1, 5), (0, 1, 6)]


def matches(*events, **rule):
    rows = [(e, *row) for e, event in enumerate(events) for row in event]
    event, true, predicted, points = np.array(rows, np.int64).T
    repeated = (np.repeat(each, points) for each in (event, true, predicted))
    return match(contingency(*repeated, events=len(events)), Rule(**rule))


@pytest.mark.parametrize(
    ("event", "style", "expected"),
    [
        # particles, reconstructed, duplicates, tracks, matched
        (MIXED, "ATLAS", (2, 2, 0, 2, 2)),
        (MIXED, "one_way", (2, 2, 0, 2, 2)),
        (MIXED, "two_way", (2, 2, 0, 2, 2)),
        (SPLIT, "ATLAS", (1, 1, 1, 2, 2)),
        (SPLIT, "one_way", (1, 0, 0, 2, 2)),
        (SPLIT, "two_way", (1, 0, 0, 2, 0)),
        (BURIED, "ATLAS", (1, 0, 0, 1, 0)),
        (BURIED, "one_way", (1, 1, 0, 1, 0)),
        (BURIED, "two_way", (1, 0, 0, 1, 0)),
    ],
)
def test_the_three_styles_on_events_made_by_hand(event, style, expected):
    found = matches(event, style=style)
    counts = (found.particles, found.reconstructed, found.duplicates, found.tracks, found.matched)
    assert tuple(int(each[0]) for each in counts) == expected


def test_exactly_half_is_no_majority():
    assert matches([(1, 1, 4), (2, 1, 4)], style="ATLAS").matched[0] == 0


def test_a_stricter_fraction_matches_less():
    assert matches(MIXED, fraction=0.7).matched[0] == 0


def test_shorter_particles_and_tracks_are_left_out():
    short = [(1, 1, 2), (2, 2, 3)]
    found = matches(short)
    assert (found.particles[0], found.tracks[0]) == (1, 1)
    found = matches(short, min_particle_points=2, min_track_points=4)
    assert (found.particles[0], found.tracks[0], found.reconstructed[0]) == (2, 0, 0)


def test_noise_and_unassigned_points_are_no_objects():
    found = matches([(0, 0, 50), (0, 1, 9), (1, 0, 9)])
    assert (found.particles[0], found.tracks[0], found.matched[0]) == (1, 1, 0)


def test_shares_are_the_largest_fraction_of_each():
    found = matches(MIXED)
    assert found.particle_shares[0] == pytest.approx(0.6 + 0.6)
    assert found.track_shares[0] == pytest.approx(0.6 + 1.0)


def test_events_are_kept_apart():
    found = matches(SPLIT, MIXED, style="ATLAS")
    assert found.reconstructed.tolist() == [1, 2]
    assert found.duplicates.tolist() == [1, 0]


def test_a_fraction_below_one_half_is_refused():
    with pytest.raises(ValueError, match=r"fraction 0.4 is not in \[0.5, 1\).*Give 0.5"):
        Rule(fraction=0.4)


rows = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 9)), min_size=1, max_size=12
)


@given(rows)
def test_double_majority_asks_no_less_than_the_other_styles(event):
    two_way, one_way, atlas = (matches(event, style=s) for s in ("two_way", "one_way", "ATLAS"))
    assert two_way.duplicates[0] == 0
    assert two_way.matched[0] <= atlas.matched[0]
    assert two_way.reconstructed[0] <= min(one_way.reconstructed[0], atlas.reconstructed[0])
    assert atlas.reconstructed[0] <= atlas.particles[0]
    assert atlas.matched[0] <= atlas.tracks[0]
