"""What metrics refuse: messages with name, row and what was expected. Axes: N rows, E events."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def check_offsets(offsets: NDArray[np.integer], rows: int) -> None:
    """Raise ValueError unless `offsets` (E+1) rise from 0 to the number of rows."""
    ends = (int(offsets[0]), int(offsets[-1])) if len(offsets) > 1 else None
    if ends != (0, rows) or (np.diff(offsets.astype(np.int64)) < 0).any():
        message = f"offsets: expected to rise from 0 to {rows} over one event or more."
        raise ValueError(message)


def check_rows(name: str, good: NDArray[Any], values: NDArray[Any], expected: str) -> None:
    """Raise ValueError with the first row (N) that is not `good`, and what it holds."""
    if not good.all():
        row = int(np.argmin(good))
        message = f"{name}: row {row} holds {values[row]}; expected {expected}."
        raise ValueError(message)


def check_shape(name: str, array: NDArray[Any], shape: tuple[int, ...], expected: str) -> None:
    """Raise ValueError unless `array` is of `shape` and has a row."""
    if array.shape != shape or not len(array):
        message = f"{name}: {array.dtype} of shape {array.shape}; expected {expected}."
        raise ValueError(message)
