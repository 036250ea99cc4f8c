from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import neighbours
from pipeline.data.events import offsets_of
from pipeline.data.preparation.neighbours import later_neighbours


def sorted_points(sizes, seed, levels):
    """Return points (P, 3) that rise in the last column in each event, and the event ends (P)."""
    rng = np.random.default_rng(seed)
    points = rng.integers(0, levels, (sum(sizes), 3)).astype(np.float32) / levels
    offsets = offsets_of(np.array(sizes))
    for start, stop in pairwise(offsets):
        points[start:stop] = points[start:stop][np.argsort(points[start:stop, 2], kind="stable")]
    return points, np.repeat(offsets[1:], sizes)


def brute_force(points, ends, count):
    found = np.full((len(points), count), -1)
    for row, end in enumerate(ends):
        later = np.arange(row + 1, end)
        apart = points[later] - points[row]
        square = apart[:, 0] ** 2 + apart[:, 1] ** 2 + apart[:, 2] ** 2
        nearest = later[np.argsort(square, kind="stable")][:count]
        found[row, : len(nearest)] = nearest
    return found


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(0, 90), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
    levels=st.sampled_from([3, 50, 10_000]),
    count=st.integers(0, 8),
)
def test_they_equal_brute_force_ties_included(sizes, seed, levels, count):
    points, ends = sorted_points(sizes, seed, levels)
    expected = brute_force(points, ends, count)
    np.testing.assert_array_equal(later_neighbours(points, ends, count), expected)


def test_they_do_not_depend_on_windows_and_blocks(monkeypatch):
    points, ends = sorted_points([400, 3, 250], 1, 10_000)
    wide = later_neighbours(points, ends, 8)
    monkeypatch.setattr(neighbours, "FIRST_WINDOW", 2)
    monkeypatch.setattr(neighbours, "BLOCK_ROWS", 17)
    np.testing.assert_array_equal(later_neighbours(points, ends, 8), wide)


def test_the_last_points_have_fewer():
    points, ends = sorted_points([10], 1, 10_000)
    found = later_neighbours(points, ends, 4)
    assert (found == -1).sum(axis=1).tolist() == [0, 0, 0, 0, 0, 0, 1, 2, 3, 4]
