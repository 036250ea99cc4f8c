"""TPCpp-10M's files: flat points and event sizes, and labels in files beside them.

The released schema (doi:10.5281/zenodo.16970029): `spacepoints_NNN.npz` holds `data` (P, 4) float32
E, x, y, z and `size` (E); `track_ids_NNN.npz`, `pid_labels_NNN.npz` and `noise_tags_NNN.npz` hold
`data` (P). Labelled sets put a stem before these names; small ones are single files without a
number.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.data.companions import companion
from pipeline.data.errors import BadInput
from pipeline.data.events import CARTESIAN, Array, Events, Integers, offsets_of
from pipeline.data.experiment import Entries, Rejected
from pipeline.data.experiments.sphenix import LABEL_FILES, SPACEPOINTS, companions
from pipeline.data.particles import LABELS
from pipeline.data.readers.exact import rounded
from pipeline.data.readers.npz import CHECKSUM, Rows, arrays
from pipeline.writing import all_written


def label_path(path: Path, label: str) -> Path:
    """Return the file of `label` that belongs to the spacepoints `path`."""
    return path.with_name(path.name.replace(SPACEPOINTS, LABEL_FILES[label], 1))


@contextlib.contextmanager
def open_npz(path: Path) -> Iterator[Entries]:
    """Open the set whose spacepoints are in `path`; none of its events is ever rejected.

    Raises:
        BadInput: A file is no npz, lacks an array, or the arrays do not belong together.
    """
    with contextlib.ExitStack() as stack:
        (size,) = stack.enter_context(arrays(path, "size"))
        (data,) = stack.enter_context(arrays(path, "data"))
        offsets = _offsets(path, size, data)
        files = {name: companion(path, companions, n) for n, name in enumerate(LABEL_FILES)}
        labels = {
            name: stack.enter_context(arrays(file, "data"))[0]
            for name, file in files.items()
            if file is not None
        }
        for rows in labels.values():
            _check_label(rows, len(data))

        def read(start: int, stop: int) -> tuple[Events, Rejected]:
            first, last = int(offsets[start]), int(offsets[stop])
            events = Events(
                source=str(path),
                columns=CARTESIAN,
                points=rounded(path, "data", data.read(first, last)),
                offsets=offsets[start : stop + 1] - first,
                event_id=np.arange(start, stop),
                per_point={name: _label(rows, name, first, last) for name, rows in labels.items()},
            )
            return events, {}

        yield Entries(len(offsets) - 1, read, checksum=CHECKSUM)


def _offsets(path: Path, size: Rows, data: Rows) -> Integers:
    """Return the offsets (E + 1) of the events.

    Raises:
        BadInput: The arrays have other shapes than released, or do not belong together.
    """
    if len(data.shape) != 2 or data.shape[1] != 4:
        message = f"{path}: data has shape {data.shape}; expected (points, 4) of E, x, y, z."
        raise BadInput(message)
    sizes: Array | None = None
    if len(size.shape) == 1 and size.dtype.kind in "iu":
        sizes = size.read(0, len(size)).astype(np.int64)
    if sizes is None or np.any(sizes < 0):
        message = f"{path}: size is {size.dtype} {size.shape}; expected one whole number an event."
        raise BadInput(message)
    offsets = offsets_of(sizes)
    if offsets[-1] != len(data) or np.any(sizes > len(data)):
        message = (
            f"{path}: event sizes sum to {offsets[-1]}, but there are {len(data)} points. "
            "The file is damaged or its parts do not belong together; fetch it again."
        )
        raise BadInput(message)
    return offsets


def _check_label(rows: Rows, points: int) -> None:
    """Check that there is one label for each of `points` points.

    Raises:
        BadInput: There are more or fewer.
    """
    if int(np.prod(rows.shape)) != points or len(rows) != points:
        message = (
            f"{rows.path}: data has shape {rows.shape}; expected ({points},), one per point. "
            "Take labels and points of the same release."
        )
        raise BadInput(message)


def _label(rows: Rows, name: str, first: int, last: int) -> Array:
    """Return one label of the points `first` to `last` in its exact type.

    Raises:
        BadInput: Values do not fit the type: PDG codes for classes, fractions for ids.
    """
    values = rows.read(first, last).ravel()
    with np.errstate(invalid="ignore"):  # NaN and large numbers differ from what they become
        exact = values.astype(LABELS[name])
    if np.any(exact != values) or (name == "pid" and np.any((exact < 0) | (exact > 4))):
        expected = {"pid": "classes 0 to 4, not PDG codes", "noise": "0 or 1"}
        message = f"{rows.path}: expected {expected.get(name, 'whole 32-bit ids')} in data."
        raise BadInput(message)
    return exact


def write_npz(path: Path, events: Events, *, labelled: bool) -> tuple[Path, ...]:
    """Write `events` as the set of `path`, whole or not at all; return its files.

    The spacepoints come last: where they are, the set is whole.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    contents: dict[Path, dict[str, Array]] = {}
    if labelled:
        contents = {
            label_path(path, name): {"data": events.per_point[name]} for name in LABEL_FILES
        }
    contents[path] = {"data": events.points, "size": events.sizes}
    with all_written(tuple(contents)) as temporaries:
        for temporary, content in zip(temporaries, contents.values(), strict=True):
            with temporary.open("wb") as stream:
                np.savez_compressed(stream, allow_pickle=False, **content)
    return tuple(contents)
