"""The columns of points normalised, (value - offset) / scale, and in physical units again.

Axes: P points, F columns.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.data.events import Floats
from pipeline.data.experiment import Column


def normalised(points: Floats, columns: Sequence[Column]) -> Floats:
    """Return `points` (P, F), each column less its offset, over its scale."""
    scale, offset = _affine(columns)
    return ((points - offset) / scale).astype(np.float32)


def physical(points: Floats, columns: Sequence[Column]) -> Floats:
    """Return normalised `points` (P, F) in the units of `columns`."""
    scale, offset = _affine(columns)
    return (points * scale + offset).astype(np.float32)


def _affine(columns: Sequence[Column]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return (scale, offset) of the columns of `points`."""
    return np.array([c.scale for c in columns]), np.array([c.offset for c in columns])
