from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_events import events

from pipeline.data.errors import BadInput
from pipeline.data.experiment import Experiment
from pipeline.data.experiments.icecube import ICECUBE
from pipeline.data.experiments.sphenix import SPHENIX
from pipeline.data.normalisation import normalised
from pipeline.data.preparation.bins import Bins
from pipeline.data.preparation.coordinates import cylindrical
from pipeline.data.preparation.curves import hilbert, zorder
from pipeline.data.preparation.serialise import (
    Preparation,
    is_voxel_order,
    normal,
    serialise,
    usable,
)

BINS = Bins(((0.0, 0.4, 0.6, 1.0), (0.0, 0.5, 1.0), (0.0, 0.2, 0.6, 1.0)), "made", "", 1)
VOXELS = ("EPR", "REP", "RPE", "PER")
CURVES = {"hilbert": hilbert, "zorder": zorder}
sizes_of_events = st.lists(st.integers(0, 40), min_size=1, max_size=4)
orders = st.sampled_from(["none", *VOXELS, *CURVES])
seeds = st.integers(0, 100)


def asked(order, **changes):
    bins = BINS if is_voxel_order(order) else None
    return Preparation(SPHENIX, order, bins=bins, **changes)


def rank(found, order):
    """Return what the points are sorted by first."""
    position = normal(found, SPHENIX)
    if order == "none":
        return np.zeros(len(position), int)
    return CURVES[order](position) if order in CURVES else BINS.groups(position, order)


def rows(found):
    return sorted(map(tuple, np.round(found, 3).tolist()))


@settings(deadline=None, max_examples=25)
@given(sizes_of_events, orders, seeds)
def test_each_event_keeps_its_points_and_their_labels(sizes, order, seed):
    whole = events(sizes, seed=seed)
    found, _ = serialise(whole, asked(order, neighbours=2))
    np.testing.assert_array_equal(found.offsets, whole.offsets)
    assert found.columns == ("energy", "eta", "phi", "r")
    reference = cylindrical(whole)
    for each in range(len(sizes)):
        ours, theirs = found.slice(each, each + 1), reference.slice(each, each + 1)
        mine = np.column_stack([ours.points, ours.per_point["track_id"], ours.per_point["pid"]])
        other = np.column_stack(
            [theirs.points, theirs.per_point["track_id"], theirs.per_point["pid"]]
        )
        assert rows(mine) == rows(other)


@settings(deadline=None, max_examples=25)
@given(sizes_of_events, orders, seeds)
def test_points_are_sorted_by_rank_and_by_r_inside_a_rank(sizes, order, seed):
    found, _ = serialise(events(sizes, seed=seed), asked(order, neighbours=2))
    for each in range(len(sizes)):
        event = found.slice(each, each + 1)
        steps = np.diff(rank(event, order))
        assert (steps >= 0).all()
        assert (np.diff(event.column("r"))[steps == 0] >= 0).all()


@pytest.mark.parametrize("order", ["none", *VOXELS])
def test_points_of_equal_r_keep_their_order(order):
    whole = events([30])
    whole.points[:] = whole.points[0]
    whole.per_point["track_id"][:] = np.arange(30)
    found, _ = serialise(whole, asked(order))
    assert found.per_point["track_id"].tolist() == list(range(30))


@settings(deadline=None, max_examples=25)
@given(sizes_of_events, orders, seeds)
def test_an_event_does_not_depend_on_the_others(sizes, order, seed):
    whole = events(sizes, seed=seed)
    points, nearest = serialise(whole, asked(order, neighbours=3))
    alone = [
        serialise(whole.slice(each, each + 1), asked(order, neighbours=3))
        for each in range(len(sizes))
    ]
    np.testing.assert_array_equal(
        points.points, np.concatenate([found.points for found, _ in alone])
    )
    np.testing.assert_array_equal(nearest, np.concatenate([found for _, found in alone]))


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=3), orders, seeds)
def test_neighbours_are_the_nearest_points_of_larger_r_wherever_they_moved(sizes, order, seed):
    together, places = serialise(events(sizes, seed=seed), asked(order, neighbours=4))
    for each in range(len(sizes)):
        found = together.slice(each, each + 1)
        position = normal(found, SPHENIX)
        nearest = places[together.offsets[each] : together.offsets[each + 1]]
        for row, mine in enumerate(nearest):
            later = np.flatnonzero(position[:, 2] > position[row, 2])
            square = ((position[later] - position[row]) ** 2).sum(axis=1)
            expected = later[np.argsort(square)][:4].tolist()
            assert mine.tolist() == expected + [-1] * (4 - len(expected))


def test_order_file_keeps_the_points_as_they_are():
    whole = events([5, 0, 9])
    found, nearest = serialise(whole, asked("file"))
    np.testing.assert_array_equal(found.points, cylindrical(whole).points)
    np.testing.assert_array_equal(found.per_point["pid"], whole.per_point["pid"])
    assert nearest.shape == (14, 0)


def test_order_file_has_no_later_points():
    with pytest.raises(BadInput, match="order 'file' has none"):
        asked("file", neighbours=1)


@pytest.mark.parametrize(
    ("order", "neighbours"), [("none", 0), ("hilbert", 0), ("REP", 0), ("file", 2)]
)
def test_without_axes_there_is_neither_order_nor_neighbour(order, neighbours):
    plain = Experiment("plain", "no axes", columns=SPHENIX.columns, readers={})
    with pytest.raises(BadInput, match=r"plain: order .* need three axes.*Use order 'file'"):
        Preparation(plain, order, neighbours=neighbours)
    assert Preparation(plain, "file").neighbours == 0


def test_eta_is_the_arctanh_of_the_polar_cosine():
    found = cylindrical(events([50]))
    x, y, z = events([50]).points[:, 1:].astype(np.float64).T
    np.testing.assert_allclose(
        found.column("eta"), np.arctanh(z / np.sqrt(x**2 + y**2 + z**2)), rtol=1e-5
    )
    np.testing.assert_allclose(found.column("phi"), np.arctan2(y, x), rtol=1e-6)


def test_the_constants_of_fm4npp_map_their_ranges_to_0_and_1():
    edges = np.array([[253.0982, -2, -np.pi, 31.371998], [521.8075, 2, np.pi, 75.384933]])
    found = normalised(edges, SPHENIX.columns)
    np.testing.assert_allclose(found, [[0, 0, 0, 0], [1, 1, 1, 1]], atol=1e-6)


def test_a_point_on_the_beam_line_is_refused():
    whole = events([3])
    whole.points[1, 1:3] = 0
    with pytest.raises(BadInput, match=r"made.npz: 1 points lie on the beam line"):
        serialise(whole, asked("REP", neighbours=1))


def test_empty_and_large_events_are_dropped_and_counted():
    kept, dropped = usable(events([3, 0, 9, 10]), asked("none", max_points=9))
    assert kept.event_id.tolist() == [0, 2]
    assert dropped == {"empty": 1, "too_many_points": 1}


def test_events_of_few_points_can_be_left_out():
    kept, dropped = usable(events([3, 0, 9, 10]), asked("none", min_points=4))
    assert kept.event_id.tolist() == [2, 3]
    assert dropped == {"too_few_points": 2, "too_many_points": 0}


def test_empty_events_are_kept_where_they_are_wanted():
    kept, dropped = usable(events([3, 0]), asked("none", min_points=0))
    assert len(kept) == 2
    assert sum(dropped.values()) == 0


def test_the_experiment_says_what_becomes_of_large_events():
    def cut(found, most):
        return found.thin(np.arange(len(found.points)) < most), {"cut": 1}

    settings = replace(asked("none", max_points=2), experiment=replace(SPHENIX, limit=cut))
    kept, dropped = usable(events([3]), settings)
    assert kept.sizes.tolist() == [2]
    assert dropped == {"empty": 0, "cut": 1}


def test_nothing_stays_nothing():
    found, nearest = serialise(events([0, 0]), asked("hilbert", neighbours=2))
    assert found.sizes.tolist() == [0, 0]
    assert nearest.shape == (0, 2)


def test_pulses_are_sorted_by_time_if_the_order_is_that():
    columns, sizes = ("time", "charge"), [3, 2]
    whole = events(sizes)
    whole = replace(
        whole,
        columns=columns,
        points=np.float32([[3, 1], [1, 2], [2, 3], [5, 4], [4, 5]]),
        verified=True,
    )
    for order, charges in (("time", [2, 3, 1, 5, 4]), ("file", [1, 2, 3, 4, 5])):
        found, near = serialise(whole, Preparation(ICECUBE, order))
        assert found.column("charge").tolist() == charges
        assert near.shape == (5, 0)


def test_an_order_by_time_needs_times():
    with pytest.raises(BadInput, match="sphenix: no column 'time' to order by"):
        Preparation(SPHENIX, "time")
    with pytest.raises(BadInput, match="order 'time' and 2 neighbours need three axes"):
        Preparation(ICECUBE, "time", neighbours=2)
