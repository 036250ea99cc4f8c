import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.preparation.curves import AXES, BITS, CELLS, cells, hilbert, zorder


def grid(side):
    """Return the blocks (P, 3) of a full grid over all cells of a curve, and their centres."""
    numbers = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return numbers, position_of((numbers + 0.5) / side * 2**BITS)


def position_of(cell):
    """Return the normalised position (P, 3) in the middle of each cell."""
    return ((np.floor(cell) + 0.5) / CELLS).astype(np.float64)


def naive_zorder(cell):
    """Return the number of one cell by its bits: those of eta before those of r before phi's."""
    bits = [f"{int(cell[axis]):0{BITS}b}" for axis in AXES]
    return int("".join(bits[axis][bit] for bit in range(BITS) for axis in range(3)), 2)


@pytest.mark.parametrize("side", [2, 4, 8, 16])
def test_successive_cells_along_hilberts_curve_touch(side):
    numbers, corners = grid(side)
    place = hilbert(corners)
    assert len(set(place.tolist())) == side**3
    steps = np.abs(np.diff(numbers[np.argsort(place)], axis=0))
    assert (steps.sum(axis=1) == 1).all()


def test_hilberts_curve_fills_a_cell_before_it_leaves_it():
    _, centres = grid(8)
    coarse = cells(centres) >> np.uint32(BITS - 1)
    visited = coarse[np.argsort(hilbert(centres))]
    changes = np.count_nonzero(np.any(np.diff(visited.astype(int), axis=0), axis=1))
    assert changes == 2**3 - 1


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(*[st.integers(0, 2**BITS - 1)] * 3), min_size=1, max_size=20))
def test_zorder_interleaves_the_bits_of_the_cells(numbers):
    position = position_of(np.array(numbers))
    assert cells(position).tolist() == [[each[axis] for axis in AXES] for each in numbers]
    assert zorder(position).tolist() == [naive_zorder(each) for each in numbers]


def test_both_curves_give_every_cell_its_own_place():
    rng = np.random.default_rng(1)
    numbers = np.unique(rng.integers(0, 2**BITS, (5000, 3)), axis=0)
    position = position_of(numbers)
    for curve in (hilbert, zorder):
        place = curve(position)
        assert place.dtype == np.int64
        assert len(np.unique(place)) == len(numbers)
        assert place.min() >= 0
        assert place.max() < 2 ** (3 * BITS)


def test_cells_are_ten_thousandths_and_what_lies_below_zero_comes_last():
    position = np.array([[0.0, 0.5, 0.25], [1.0, -0.01, 0.00019]])
    assert cells(position).tolist() == [[0, 2500, 5000], [10_000, 1, 2**BITS - 100]]


def test_no_points_have_no_places():
    none = np.zeros((0, 3), np.float32)
    assert hilbert(none).shape == zorder(none).shape == (0,)
