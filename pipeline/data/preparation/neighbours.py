"""The nearest later neighbours of each point, exact, compiled by Numba at first use.

Axes: P points of all events, k neighbours.
"""

import numba
import numpy as np
import numpy.typing as npt

from pipeline.data.events import Floats, Integers

NONE = -1
Places = npt.NDArray[np.int32]


def later_neighbours(position: Floats, offsets: Integers, count: int) -> Places:
    """Return the indices (P, k) within the event of the `count` nearest later points, -1 for none.

    `position` (P, 3) rises in its last column within each event, whose rows follow from `offsets`.
    Distances are Euclidean in float32; of equal ones the earlier point comes first.
    """
    found = np.full((len(position), count), NONE, np.int32)
    if count:
        x, y, z = (np.ascontiguousarray(position[:, axis], np.float32) for axis in range(3))
        _search(x, y, z, offsets, found)
    return found


def moved(found: Places, rows: Integers, offsets: Integers) -> Places:
    """Return `found` (P, k) for the points at `rows` (P), as indices after that move.

    The points keep to their events, so `offsets` serve both orders.
    """
    there = np.empty_like(found)
    _move(found, rows, offsets, there)
    return there


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _move(found: Places, rows: Integers, offsets: Integers, there: Places) -> None:
    """Fill `there` (P, k)."""
    index = np.empty(len(rows), np.int32)
    for event in range(len(offsets) - 1):
        first, last = offsets[event], offsets[event + 1]
        for row in range(first, last):
            index[rows[row]] = row - first
        for row in range(first, last):
            for number in range(found.shape[1]):
                old = found[rows[row], number]
                there[row, number] = old if old == NONE else index[first + old]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _search(x: Floats, y: Floats, z: Floats, offsets: Integers, found: Places) -> None:
    """Fill `found` (P, k), point by point.

    Neighbours in the order have neighbourhoods of like size, so the last one's tells how far to
    look; where too few lie so near, a point looks further. Of those near enough the nearest are
    kept in a short sorted list.
    """
    count, longest = found.shape[1], 0
    for event in range(len(offsets) - 1):
        longest = max(longest, offsets[event + 1] - offsets[event])
    squares, rows = np.empty(longest, np.float32), np.empty(longest, np.int32)
    for event in range(len(offsets) - 1):
        first, last = offsets[event], offsets[event + 1]
        reach = np.float32(np.inf)
        for row in range(first, last):
            near = _within(x, y, z, row, last, reach, squares, rows)
            while near < count and reach < np.inf:
                reach = reach * np.float32(2) if reach > 0 else np.float32(np.inf)
                near = _within(x, y, z, row, last, reach, squares, rows)
            farthest = _keep(squares[:near], rows[:near], first, found[row])
            reach = np.float32(1.3) * farthest


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _within(
    x: Floats,
    y: Floats,
    z: Floats,
    row: int,
    last: int,
    reach: np.float32,
    squares: Floats,
    rows: Places,
) -> int:
    """Put the later points whose squared distance is below `reach` into `squares` and `rows`.

    As z rises, none that lies deeper is nearer: there the search ends. Returns how many they are.
    """
    near = 0
    for other in range(row + 1, last):
        dx, dy, dz = x[other] - x[row], y[other] - y[row], z[other] - z[row]
        if dz * dz >= reach:
            break
        square = dx * dx + dy * dy + dz * dz
        squares[near], rows[near] = square, other
        near += square < reach
    return near


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _keep(squares: Floats, rows: Places, first: int, found: Places) -> np.float32:
    """Put the indices of the nearest of `rows` into `found` (k); return the k-th's square.

    It is infinite if there are fewer than k. Of equal distances the earlier row comes first.
    """
    count, held = len(found), 0
    nearest = np.empty(count, np.float32)
    for candidate in range(len(squares)):
        square = squares[candidate]
        if held == count and square >= nearest[count - 1]:
            continue
        held = min(held + 1, count)
        slot = held - 1
        while slot > 0 and nearest[slot - 1] > square:
            nearest[slot] = nearest[slot - 1]
            found[slot] = found[slot - 1]
            slot -= 1
        nearest[slot] = square
        found[slot] = rows[candidate] - first
    return nearest[count - 1] if held == count else np.float32(np.inf)
