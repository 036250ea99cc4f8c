"""Voxel bins that somebody else fitted, from a file of theirs: a published model needs its own.

FM4NPP's code keeps its bins as a pickle. A pickle may run any code when it is loaded, so only
numbers, texts, containers of them and numpy arrays are admitted here.
"""

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.checksums import sha256
from pipeline.data.errors import BadInput
from pipeline.data.preparation.bins import Bins

if TYPE_CHECKING:
    from pipeline.data.events import Doubles

NAMES = {"eta": ("eta",), "phi": ("phi",), "r": ("radius", "rad", "r")}
# What numpy's own arrays are made of in a pickle, before and after its version 2.
_ADMITTED = {
    (module, name)
    for package in ("numpy.core", "numpy._core")
    for module, name in (
        (f"{package}.multiarray", "_reconstruct"),
        (f"{package}.multiarray", "scalar"),
        (f"{package}.numeric", "_frombuffer"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("collections", "OrderedDict"),
        ("_codecs", "encode"),
    )
}


class _Numbers(pickle.Unpickler):
    """An unpickler that knows arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what makes arrays.

        Raises:
            UnpicklingError: The pickle asks for anything else.
        """
        if (module, name) not in _ADMITTED:
            message = f"it holds {module}.{name}"
            raise pickle.UnpicklingError(message)
        return super().find_class(module, name)


def published_bins(path: Path) -> Bins:
    """Return the bins in `path`: .json, .npz, or a pickle (.pkl, .pickle) that holds numbers alone.

    The file holds rising edges by names of the axes (eta, phi, and r or radius), or three lists of
    them in this order, of positions normalised as the experiment's columns are.

    Raises:
        BadInput: It is not there, is damaged, holds objects, or no such edges.
    """
    content = _content(path)
    pairs = zip(NAMES, _axes(path, content), strict=True)
    eta, phi, r = (_edges(path, axis, values) for axis, values in pairs)
    return Bins((eta, phi, r), str(path), sha256(path), 0)


def _content(path: Path) -> Any:
    try:
        if path.suffix == ".json":
            return json.loads(path.read_text())
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        if path.suffix in (".pkl", ".pickle"):
            with path.open("rb") as file:
                return _Numbers(file).load()
    except FileNotFoundError as error:
        message = f"{path}: no such file. bins_file names the file of bins that came with a model."
        raise BadInput(message) from error
    except pickle.UnpicklingError as error:
        message = (
            f"{path}: not loaded, since a pickle may run code ({error}). Only numbers, texts, "
            "lists and numpy arrays are admitted: save the edges as .json or .npz."
        )
        raise BadInput(message) from error
    except Exception as error:
        message = f"{path}: damaged ({type(error).__name__}: {error}). Fetch it again."
        raise BadInput(message) from error
    message = f"{path}: bins_file ends in .json, .npz, .pkl or .pickle."
    raise BadInput(message)


def _axes(path: Path, content: Any) -> list[Any]:
    """Return what the file holds for eta, phi and r."""
    if isinstance(content, Mapping):
        found = [_named(content, names) for names in NAMES.values()]
        if all(each is not None for each in found):
            return found
    elif isinstance(content, Sequence | np.ndarray) and len(content) == len(NAMES):
        return list(content)
    held = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
    message = (
        f"{path}: no edges of eta, phi and r, but {held or 'nothing'}. Expected these three by "
        "name, or three lists in this order."
    )
    raise BadInput(message)


def _named(content: Mapping[Any, Any], names: Sequence[str]) -> Any:
    """Return the value whose key is one of `names`, or has it as a word: edges_eta."""
    for key, value in content.items():
        if any(name in str(key).lower().split("_") for name in names):
            return value
    return None


def _edges(path: Path, axis: str, values: Any) -> tuple[float, ...]:
    try:
        edges: Doubles = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        message = f"{path}: edges of {axis} are no numbers ({error})."
        raise BadInput(message) from error
    rising = edges.ndim == 1 and len(edges) > 1 and bool((np.diff(edges) > 0).all())
    if not rising or not np.isfinite(edges).all():
        message = f"{path}: edges of {axis} are {edges}; expected two or more that rise."
        raise BadInput(message)
    return tuple(edges.tolist())
