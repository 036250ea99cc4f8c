import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_events import events

from pipeline.data.errors import BadInput
from pipeline.data.preparation.bins import Bins
from pipeline.data.preparation.coordinates import SPHENIX, cylindrical
from pipeline.data.preparation.serialise import serialise, usable

BINS = Bins(eta=(0.0, 0.4, 0.6, 1.0), phi=(0.0, 0.5, 1.0), r=(0.0, 0.2, 0.6, 1.0))
sizes_of_events = st.lists(st.integers(0, 40), min_size=1, max_size=4)
orders = st.sampled_from(["none", "EPR", "REP", "RPE", "PER"])


def rows(found):
    return sorted(map(tuple, np.round(found, 3).tolist()))


@settings(deadline=None, max_examples=25)
@given(sizes_of_events, orders, st.integers(0, 100))
def test_each_event_keeps_its_points_and_their_labels(sizes, order, seed):
    whole = events(sizes, seed=seed)
    found = serialise(whole, BINS, order=order, neighbours=2).events
    np.testing.assert_array_equal(found.offsets, whole.offsets)
    reference = cylindrical(whole)
    for each in range(len(sizes)):
        ours, theirs = found.slice(each, each + 1), reference.slice(each, each + 1)
        mine = np.column_stack([ours.points, ours.per_point["track_id"], ours.per_point["pid"]])
        other = np.column_stack(
            [theirs.points, theirs.per_point["track_id"], theirs.per_point["pid"]]
        )
        assert rows(mine) == rows(other)


@settings(deadline=None, max_examples=25)
@given(sizes_of_events, orders, st.integers(0, 100))
def test_points_are_sorted_by_voxel_and_by_r_inside_a_voxel(sizes, order, seed):
    found = serialise(events(sizes, seed=seed), BINS, order=order, neighbours=2).events
    for each in range(len(sizes)):
        points = found.slice(each, each + 1).points
        group = BINS.groups(SPHENIX.apply(points)[:, 1:], order)
        assert (np.diff(group) >= 0).all()
        same = np.diff(group) == 0
        assert (np.diff(points[:, 3])[same] >= 0).all()


@settings(deadline=None, max_examples=25)
@given(sizes_of_events, orders, st.integers(0, 100))
def test_an_event_does_not_depend_on_the_others(sizes, order, seed):
    whole = events(sizes, seed=seed)
    together = serialise(whole, BINS, order=order, neighbours=3)
    alone = [
        serialise(whole.slice(each, each + 1), BINS, order=order, neighbours=3)
        for each in range(len(sizes))
    ]
    np.testing.assert_array_equal(
        together.events.points, np.concatenate([each.events.points for each in alone])
    )
    np.testing.assert_array_equal(
        together.neighbours, np.concatenate([each.neighbours for each in alone])
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 60), orders, st.integers(0, 100))
def test_neighbours_are_the_nearest_points_of_larger_r_wherever_they_moved(size, order, seed):
    found = serialise(events([size], seed=seed), BINS, order=order, neighbours=4)
    normal = SPHENIX.apply(found.events.points)[:, 1:]
    for row, nearest in enumerate(found.neighbours):
        later = np.flatnonzero(normal[:, 2] > normal[row, 2])
        square = ((normal[later] - normal[row]) ** 2).sum(axis=1)
        expected = later[np.argsort(square)][:4].tolist()
        assert nearest.tolist() == expected + [-1] * (4 - len(expected))


def test_eta_is_the_arctanh_of_the_polar_cosine():
    found = cylindrical(events([50]))
    x, y, z = events([50]).points[:, 1:].astype(np.float64).T
    np.testing.assert_allclose(
        found.column("eta"), np.arctanh(z / np.sqrt(x**2 + y**2 + z**2)), rtol=1e-5
    )
    np.testing.assert_allclose(found.column("phi"), np.arctan2(y, x), rtol=1e-6)


def test_the_constants_of_fm4npp_map_their_ranges_to_0_and_1():
    edges = np.array([[253.0982, -2, -np.pi, 31.371998], [521.8075, 2, np.pi, 75.384933]])
    np.testing.assert_allclose(SPHENIX.apply(edges), [[0, 0, 0, 0], [1, 1, 1, 1]], atol=1e-6)


def test_a_point_on_the_beam_line_is_refused():
    whole = events([3])
    whole.points[1, 1:3] = 0
    with pytest.raises(BadInput, match="1 points lie on the beam line"):
        serialise(whole, BINS, order="REP", neighbours=1)


def test_empty_and_large_events_are_dropped_and_counted():
    kept, dropped = usable(events([3, 0, 9, 10]), 9)
    assert kept.event_id.tolist() == [0, 2]
    assert dropped == {"empty_tpc": 1, "too_many_points": 1}
