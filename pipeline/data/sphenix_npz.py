"""TPCpp-10M's files: flat points and event sizes, and labels in files beside them.

The released schema (doi:10.5281/zenodo.16970029): `spacepoints_NNN.npz` holds `data` (P, 4) float32
E, x, y, z and `size` (E); `track_ids_NNN.npz`, `pid_labels_NNN.npz` and `noise_tags_NNN.npz` hold
`data` (P). Small splits have one file of each, without a number.
"""

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import LABELS, Array, Events, offsets_of

SPACEPOINTS = "spacepoints"
LABEL_FILES = {"track_id": "track_ids", "pid": "pid_labels", "noise": "noise_tags"}


def label_path(path: Path, label: str) -> Path:
    """Return the file of `label` that belongs to the spacepoints `path`."""
    return path.with_name(path.name.replace(SPACEPOINTS, LABEL_FILES[label], 1))


def companions(path: Path) -> tuple[Path, ...]:
    """Return the files of the set of `path` that exist: the spacepoints first, then labels."""
    if not path.name.startswith(SPACEPOINTS):
        return (path,)
    return (path, *(each for name in LABEL_FILES if (each := label_path(path, name)).exists()))


def read_npz(path: Path) -> tuple[Events, dict[str, int]]:
    """Return the events of the set whose spacepoints are in `path`; nothing is ever rejected.

    Raises:
        BadInput: The file is no npz, lacks an array, or the arrays do not belong together.
    """
    arrays = _arrays(path, ("data", "size"))
    data, size = arrays["data"], arrays["size"]
    if data.ndim != 2 or data.shape[1] != 4:
        message = f"{path}: data has shape {data.shape}; expected (points, 4) of E, x, y, z."
        raise BadInput(message)
    if size.ndim != 1 or size.dtype.kind not in "iu" or np.any(size < 0):
        message = f"{path}: size is {size.dtype} {size.shape}; expected one whole number an event."
        raise BadInput(message)
    events = Events(
        source=str(path),
        points=data.astype(np.float32, copy=False),
        offsets=offsets_of(size),
        event_id=np.arange(len(size)),
        labels=_labels(path),
    )
    return events, {}


def _labels(path: Path) -> dict[str, Array]:
    """Return the labels in the files beside the spacepoints `path`."""
    found = companions(path)[1:]
    return {
        name: _label(label_path(path, name), name)
        for name in LABEL_FILES
        if label_path(path, name) in found
    }


def _label(path: Path, name: str) -> Array:
    """Return one label in its exact type.

    Raises:
        BadInput: Values do not fit the type: PDG codes for classes, fractions for ids.
    """
    values = _arrays(path, ("data",))["data"].ravel()
    exact = values.astype(LABELS[name])
    if np.any(exact != values) or (name == "pid" and np.any((exact < 0) | (exact > 4))):
        expected = {"pid": "classes 0 to 4, not PDG codes", "noise": "0 or 1"}
        message = f"{path}: expected {expected.get(name, 'whole 32-bit ids')} in data."
        raise BadInput(message)
    return exact


def _arrays(path: Path, names: tuple[str, ...]) -> dict[str, Array]:
    """Return the arrays `names` of the npz file `path`.

    Raises:
        BadInput: The file is damaged or lacks one of them.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            there = archive.files
            arrays = {name: archive[name] for name in names if name in there}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, TypeError) as error:
        message = f"{path}: not a whole npz file ({error}). Fetch or make it again."
        raise BadInput(message) from error
    missing = [name for name in names if name not in arrays]
    if missing:
        message = (
            f"{path}: no array {missing[0]!r}, only {', '.join(there) or 'none'}. "
            "Expected the layout of TPCpp-10M: data and size."
        )
        raise BadInput(message)
    return arrays


def write_npz(path: Path, events: Events, *, labelled: bool) -> tuple[Path, ...]:
    """Write `events` as the set of `path`, whole or not at all; return its files.

    The spacepoints come last: where they are, the set is whole.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    contents = {}
    if labelled:
        contents = {label_path(path, name): {"data": events.labels[name]} for name in LABEL_FILES}
    contents[path] = {"data": events.points, "size": events.sizes}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporaries = {file: file.with_name(f".{file.name}.{os.getpid()}.tmp") for file in contents}
    try:
        for file, arrays in contents.items():
            _write_archive(temporaries[file], arrays)
        for file, temporary in temporaries.items():
            temporary.replace(file)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
    return tuple(contents)


def _write_archive(path: Path, arrays: dict[str, Array]) -> None:
    """Write one compressed npz and wait for the disk."""
    with path.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
        stream.flush()
        os.fsync(stream.fileno())
