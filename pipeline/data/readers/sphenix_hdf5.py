"""The event dumps of sPHENIX's tree maker: one event a file, written by pandas' HDFStore.

`scripts/df-dump.py` of BNL-DAQ-LDRD/calotrack_tree puts three frames into `data_event_N.h5`:
`clusters` (cid, x, y, z, detid, ptid: the particle's track id, 0 for none), `particles` (ptid, ppid
the PDG code, pt, …: charged and stable, above 0.1 GeV/c, with more than 30 clusters), and `seeds`,
reconstructed, which are not read. The clusters have no energy unless a column `E` was added. A dump
with neither `particles` nor `ptid` is of data, whose truth nobody knows.
Columns of lists are pickled objects, and are never opened.
"""

import contextlib
import pickletools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  # lets h5py read blosc, with which the dumps are packed
import numpy as np

from pipeline.data import files
from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events
from pipeline.data.experiment import Entries, Rejected
from pipeline.data.particles import is_noise, pid_class
from pipeline.data.readers.exact import rounded
from pipeline.data.readers.hdf5 import check_whole
from pipeline.data.readers.matching import Keys, match
from pipeline.data.readers.sphenix_root import TPC

POSITION = ("x", "y", "z")
DAMAGED = (OSError, KeyError, IndexError, RuntimeError, ValueError, TypeError, AttributeError)
whole = partial(files.whole, kind="HDF5 dump", faults=DAMAGED)
TEXT = frozenset({"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "STRING", "SHORT_BINSTRING"})


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[Entries]:
    """Open the dump `path`, one event with its labels.

    Raises:
        BadInput: The file is damaged, or lacks `clusters`, `particles` or one of their columns.
    """
    with contextlib.ExitStack() as stack:
        with whole(path):
            file = stack.enter_context(h5py.File(path))

        def read(start: int, stop: int) -> tuple[Events, Rejected]:
            with whole(path):
                event, rejected = _event(path, file)
            return event.slice(start, min(stop, len(event))), rejected if stop > start else {}

        yield Entries(1, read)


def _event(path: Path, file: Any) -> tuple[Events, Rejected]:
    """Return the event of the open `file`, or none and why."""
    clusters = _frame(path, file, "clusters", (*POSITION, "detid"), ("E", "ptid"))
    names = ("E", *POSITION) if "E" in clusters else POSITION
    inside = clusters["detid"] == TPC
    columns = [rounded(path, f"clusters, {name}", clusters[name][inside]) for name in names]
    points = np.column_stack(columns)
    reason = "" if len(points) else "empty_tpc"
    if np.isnan(points).any():
        reason = "missing_reco_data"
    if reason:
        points, inside = points[:0], np.zeros_like(inside)
    events = Events(
        source=str(path),
        columns=tuple("energy" if name == "E" else name for name in names),
        points=points,
        offsets=np.array([0] if reason else [0, len(points)]),
        event_id=np.arange(0 if reason else 1),
        per_point=_labels(path, file, clusters, inside),
    )
    return events, {name: int(name == reason) for name in ("empty_tpc", "missing_reco_data")}


def _labels(path: Path, file: Any, clusters: dict[str, Array], inside: Array) -> dict[str, Array]:
    """Return the labels of the `clusters` that are `inside` (P), by their particles' track ids.

    A particle that is not listed has an unknown momentum: if material made it, it is noise. There
    are none where the dump has neither ids nor particles.

    Raises:
        BadInput: It has one of both alone.
    """
    if "ptid" not in clusters and "particles" not in file:
        return {}
    track_id = _frame(path, file, "clusters", ("ptid",))["ptid"][inside]
    particles = _frame(path, file, "particles", ("ptid", "ppid", "pt"))
    for ids in (track_id, particles["ptid"], particles["ppid"]):
        if ids.dtype.kind not in "iu" or np.any(ids != ids.astype(np.int32)):
            message = f"{path}: ptid or ppid are {ids.dtype}; expected whole 32-bit ids."
            raise BadInput(message)
    one = np.zeros(len(track_id), np.int64)
    all_ = np.zeros(len(particles["ptid"]), np.int64)
    row = match(Keys(one, track_id), Keys(all_, particles["ptid"]))
    codes, pt_gev = np.zeros(len(row), np.int32), np.zeros(len(row), np.float32)
    known = row >= 0
    codes[known] = particles["ppid"][row[known]]
    pt_gev[known] = rounded(path, "particles, pt", particles["pt"])[row[known]]
    noise = is_noise(track_id, pt_gev)
    return {
        "track_id": np.where(noise, 0, track_id).astype(np.int32),
        "pid": pid_class(codes),
        "noise": noise,
        "pt_gev": pt_gev,
    }


def _frame(
    path: Path, file: Any, key: str, names: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, Array]:
    """Return the columns `names` of the frame `key`, and those of `optional` that it has.

    Raises:
        BadInput: The frame is not there, or lacks one of `names`.
    """
    if key not in file:
        message = (
            f"{path}: no frame {key!r}, only {', '.join(file) or 'nothing'}. "
            "Expected a dump of the sPHENIX tree maker: clusters, seeds, particles."
        )
        raise BadInput(message)
    columns = _table(file[key]) if "table" in file[key] else _blocks(file[key])
    missing = [name for name in names if name not in columns]
    if missing:
        message = (
            f"{path}: frame {key!r} has no column {', '.join(missing)}, only "
            f"{', '.join(columns)}. Make the dump with a script that writes it."
        )
        raise BadInput(message)
    wanted = [*names, *(name for name in optional if name in columns)]
    for dataset in {columns[name][0] for name in wanted}:
        check_whole(path, dataset)
    return {name: _column(*columns[name]) for name in wanted}


def _table(group: Any) -> dict[str, tuple[Any, str, int]]:
    """Return where each column of a frame in format `table` is: dataset, field and index."""
    table = group["table"]
    columns = {}
    for field in table.dtype.names:
        names = _texts(table.attrs.get(f"{field}_kind", b"")) if field != "index" else []
        columns.update({name: (table, field, index) for index, name in enumerate(names)})
    return columns


def _texts(pickled: bytes) -> list[str]:
    """Return the texts in a pickled list of texts, which is read but never executed."""
    if not pickled:
        return []
    return [str(value) for code, value, _ in pickletools.genops(pickled) if code.name in TEXT]


def _blocks(group: Any) -> dict[str, tuple[Any, str, int]]:
    """Return where each column of a frame in format `fixed` is."""
    columns = {}
    for number in range(int(group.attrs["nblocks"])):
        items = group[f"block{number}_items"][:]
        values = group[f"block{number}_values"]
        columns.update({name.decode(): (values, "", index) for index, name in enumerate(items)})
    return columns


def _column(dataset: Any, field: str, index: int) -> Array:
    """Return one column (N); what is empty is stored as one value and its real type."""
    if "value_type" in dataset.attrs:
        return np.zeros(0, dataset.attrs["value_type"].decode())
    if field:
        values: Array = dataset[field]
        return values.reshape(len(values), -1)[:, index]
    column: Array = dataset[:, index]
    return column
