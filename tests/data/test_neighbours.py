from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.events import offsets_of
from pipeline.data.preparation.neighbours import later_neighbours


def sorted_points(sizes, seed, levels):
    """Return points (P, 3) that rise in the last column in each event, and offsets (E + 1)."""
    rng = np.random.default_rng(seed)
    points = rng.integers(0, levels, (sum(sizes), 3)).astype(np.float32) / np.float32(levels)
    offsets = offsets_of(np.array(sizes))
    for start, stop in pairwise(offsets):
        points[start:stop] = points[start:stop][np.argsort(points[start:stop, 2], kind="stable")]
    return points, offsets


def brute_force(points, offsets, count):
    found = np.full((len(points), count), -1)
    for start, stop in pairwise(offsets):
        for row in range(start, stop):
            later = np.arange(row + 1, stop)
            apart = points[later] - points[row]
            square = apart[:, 0] ** 2 + apart[:, 1] ** 2 + apart[:, 2] ** 2
            nearest = later[np.argsort(square, kind="stable")][:count]
            found[row, : len(nearest)] = nearest - start
    return found


@settings(deadline=None, max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 90), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
    levels=st.sampled_from([3, 50, 10_000]),
    count=st.integers(0, 8),
)
def test_they_equal_brute_force_ties_included(sizes, seed, levels, count):
    points, offsets = sorted_points(sizes, seed, levels)
    found = later_neighbours(points, offsets, count)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, brute_force(points, offsets, count))


def test_of_equally_near_points_the_earlier_comes_first():
    points = np.zeros((5, 3), np.float32)
    points[1:, 0] = [1, -1, 1, -1]
    found = later_neighbours(points, np.array([0, 5]), 2)
    assert found.tolist() == [[1, 2], [3, 2], [4, 3], [4, -1], [-1, -1]]


def test_they_do_not_depend_on_the_other_events():
    points, offsets = sorted_points([400, 3, 0, 250], 1, 10_000)
    together = later_neighbours(points, offsets, 8)
    for start, stop in pairwise(offsets):
        alone = later_neighbours(points[start:stop], np.array([0, stop - start]), 8)
        np.testing.assert_array_equal(together[start:stop], alone)


def test_the_last_points_have_fewer():
    points, offsets = sorted_points([10], 1, 10_000)
    found = later_neighbours(points, offsets, 4)
    assert (found == -1).sum(axis=1).tolist() == [0, 0, 0, 0, 0, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("layout", ["C", "F"])
def test_the_layout_in_memory_does_not_matter(layout):
    points, offsets = sorted_points([60], 2, 50)
    found = later_neighbours(np.asarray(points, order=layout), offsets, 3)
    np.testing.assert_array_equal(found, brute_force(points, offsets, 3))
