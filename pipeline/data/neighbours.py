"""The nearest later neighbours of each point: exact, in windows that grow where they must.

Axes: P points of all events, W width of the window, k neighbours.
"""

import numpy as np
import numpy.typing as npt

from pipeline.data.events import Floats, Integers

FIRST_WINDOW = 64
BLOCK_ROWS = 2048
NONE = -1
FAR = np.iinfo(np.int64).max


def later_neighbours(points: Floats, ends: Integers, count: int) -> Integers:
    """Return the rows (P, k) of the `count` nearest later points of the same event, -1 for none.

    `points` (P, 3) rise in their last column within each event; `ends` (P) is the row after the
    last of each one's event. Distances are Euclidean in float32; of equal ones the earlier row
    comes first. As the last column rises, no point beyond a window is nearer than the window is
    deep: rows whose k-th neighbour is no farther are settled, the others get a window twice as
    wide.
    """
    found = np.full((len(points), count), NONE, np.int64)
    rows = np.flatnonzero(np.arange(len(points)) + 1 < ends)
    width = FIRST_WINDOW
    while count and len(rows):
        unsettled = []
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS]
            found[block], settled = _nearest(points, ends[block], block, width, count)
            unsettled.append(block[~settled])
        rows = np.concatenate(unsettled)
        width *= 2
    return found


def _nearest(
    points: Floats, ends: Integers, rows: Integers, width: int, count: int
) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Return the nearest (B, k) of the next `width` points of `rows` (B), and which are sure."""
    step = np.arange(1, width + 1)
    later = rows[:, None] + step
    inside = later < ends[:, None]
    later = np.minimum(later, len(points) - 1)
    square = np.zeros(later.shape, np.float32)
    for axis in range(3):
        apart = points[later, axis] - points[rows, axis][:, None]
        square += apart * apart
    # Squares are not negative, so their bits order as integers do; the step breaks ties.
    key = np.where(inside, (square.view(np.int32).astype(np.int64) << 32) | step, FAR)
    key = np.sort(np.partition(key, min(count, width) - 1, axis=1)[:, :count], axis=1)
    nearest = np.full((len(rows), count), NONE, np.int64)
    nearest[:, : key.shape[1]] = np.where(key == FAR, NONE, rows[:, None] + (key & 0xFFFFFFFF))
    beyond = rows + width + 1
    depth = points[np.minimum(beyond, len(points) - 1), 2] - points[rows, 2]
    farthest = (key[:, -1] >> 32).astype(np.int32).view(np.float32)
    enough = (key[:, -1] != FAR) & (key.shape[1] == count)
    return nearest, (beyond >= ends) | (enough & (farthest <= depth * depth))
