"""Numbers in the exact types of the store: the same number, or for measurements the nearest."""

from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.data.errors import BadInput
from pipeline.data.events import Array

Kind = TypeVar("Kind", bound=np.generic)


def exact(path: Path, name: str, values: Array, kind: type[Kind]) -> npt.NDArray[Kind]:
    """Return `values` as `kind`, each the same number.

    Raises:
        BadInput: A value is no number of that type.
    """
    if values.dtype == kind:
        return values
    with np.errstate(invalid="ignore", over="ignore"):
        made = values.astype(kind)
        same = (made.astype(values.dtype) == values) & ((made < 0) == (values < 0))
    if not same.all():
        bad = values[np.argmin(same)]
        message = (
            f"{path}: {name} holds {bad}, which {np.dtype(kind)} cannot hold exactly. "
            "Make the file again, or leave it out of the dataset."
        )
        raise BadInput(message)
    return made


def rounded(path: Path, name: str, values: Array) -> npt.NDArray[np.float32]:
    """Return what was measured as float32, the nearest: off by 6e-8 of itself at most.

    Raises:
        BadInput: A value is beyond float32.
    """
    if values.dtype == np.float32:
        return values
    with np.errstate(over="ignore"):
        made = values.astype(np.float32)
    lost = ~np.isfinite(made) & np.isfinite(values)
    if lost.any():
        message = (
            f"{path}: {name} holds {values[lost][0]}, which is beyond float32. "
            "Make the file again, or leave it out of the dataset."
        )
        raise BadInput(message)
    return made
