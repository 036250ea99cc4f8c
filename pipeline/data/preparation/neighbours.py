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
    """Return the places (P, k) in their event of the `count` nearest later points, -1 for none.

    `position` (P, 3) rises in its last column within each event, whose rows `offsets` tell.
    Distances are Euclidean in float32; of equal ones the earlier point comes first.
    """
    found = np.full((len(position), count), NONE, np.int32)
    if count:
        x, y, z = (np.ascontiguousarray(position[:, axis], np.float32) for axis in range(3))
        _search(x, y, z, offsets, found)
    return found


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _search(x: Floats, y: Floats, z: Floats, offsets: Integers, found: Places) -> None:
    """Fill `found` (P, k): insert each later point into a short sorted list.

    As z rises, no point further on is nearer than it lies deep: there the search of a point ends.
    """
    count = found.shape[1]
    nearest = np.empty(count, np.float32)
    for event in range(len(offsets) - 1):
        first, last = offsets[event], offsets[event + 1]
        for row in range(first, last):
            held = 0
            worst = np.float32(np.inf)
            for other in range(row + 1, last):
                dz = z[other] - z[row]
                if dz * dz >= worst:
                    break
                dx, dy = x[other] - x[row], y[other] - y[row]
                square = dx * dx + dy * dy + dz * dz
                if square >= worst:
                    continue
                place = min(held, count - 1)
                while place > 0 and nearest[place - 1] > square:
                    nearest[place] = nearest[place - 1]
                    found[row, place] = found[row, place - 1]
                    place -= 1
                nearest[place] = square
                found[row, place] = other - first
                held = min(held + 1, count)
                if held == count:
                    worst = nearest[count - 1]
