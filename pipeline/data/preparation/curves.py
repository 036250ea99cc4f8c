"""Space-filling curves: the positions of points in a unit cube along Hilbert's or Morton's curve.

The curves run through the first, the third and the second axis, as FM4NPP's code has them: eta, r,
phi (fm4npp/datasets/dataset.py of github.com/FM4NPP/PP_collision at 0a0a17c), in cells of a
ten-thousandth.

Axes: P points.
"""

import numpy as np
import numpy.typing as npt

from pipeline.data.events import Floats, Integers

BITS = 16
CELLS = 10_000  # to an axis from 0 to 1
AXES = (0, 2, 1)
SPREAD = (
    (16, 0x00FF0000FF),  # one half of the 16 bits, 8 each
    (8, 0xF00F00F00F),
    (4, 0xC30C30C30C3),
    (2, 0x249249249249),
)
Cells = npt.NDArray[np.uint32]


def cells(position: Floats) -> Cells:
    """Return the cell (P, 3) of each normalised `position`, by the axes of the curves.

    There are 10,000 to an axis from 0 to 1. Of a number of cells outside 0 to 2^16 the last 16 bits
    are taken, as in FM4NPP's code: what lies below 0 comes last.
    """
    scaled = position[:, AXES].astype(np.float32) * np.float32(CELLS)
    numbers: Cells = (scaled.astype(np.int64) & (2**BITS - 1)).astype(np.uint32)
    return numbers


def zorder(position: Floats) -> Integers:
    """Return the positions (P) along Morton's curve; the first axis is the slowest."""
    return _interleaved(cells(position))


def hilbert(position: Floats) -> Integers:
    """Return the positions (P) along Hilbert's curve, whose steps lead to cells that touch.

    J. Skilling, "Programming the Hilbert curve", AIP Conf. Proc. 707 (2004) 381: from axes to the
    transposed index, all points at once.
    """
    x = np.ascontiguousarray(cells(position).T)
    bit = np.uint32(1 << (BITS - 1))
    while bit > 1:
        below = np.uint32(bit - 1)
        for axis in range(3):
            inverted = (x[axis] & bit) != 0
            swapped = np.where(inverted, np.uint32(0), (x[0] ^ x[axis]) & below)
            x[0] ^= np.where(inverted, below, swapped)
            x[axis] ^= swapped
        bit >>= np.uint32(1)
    for axis in (1, 2):
        x[axis] ^= x[axis - 1]
    flips = np.zeros(x.shape[1], np.uint32)
    bit = np.uint32(1 << (BITS - 1))
    while bit > 1:
        flips ^= np.where(x[2] & bit, np.uint32(bit - 1), np.uint32(0))
        bit >>= np.uint32(1)
    return _interleaved((x ^ flips).T)


def _interleaved(x: Cells) -> Integers:
    """Return the numbers (P) that interleave the bits of `x` (P, 3), the first axis first."""
    number = np.zeros(len(x), np.uint64)
    for axis in range(3):
        number |= _spread(x[:, axis]) << np.uint64(2 - axis)
    return number.astype(np.int64)


def _spread(x: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """Return `x` (P) with two empty bits before each bit; halves move apart step by step."""
    wide = x.astype(np.uint64)
    for shift, kept in SPREAD:
        wide = (wide | (wide << np.uint64(shift))) & np.uint64(kept)
    return wide
