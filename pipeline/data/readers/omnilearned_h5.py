"""OmniLearned's files, reading and writing: HDF5 with every set of particles padded to one length.

`data` (N, M, 4 or more) holds Δη, Δφ, ln pT and ln E of each particle, and what else is known of
it; a particle is there where ln pT is not 0. `pid` (N) is the class of each jet, `global` (N, G)
what is known of the whole, multiplicity / 100 last, `data_pid` (N, M) the kind of each particle.
All but `data` may be absent. Axes: E jets, P particles of all jets.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.data import files
from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Floats, Integers, offsets_of
from pipeline.data.experiment import Entries, Rejected
from pipeline.data.experiments.omnilearned import COLUMNS
from pipeline.data.readers.exact import exact, rounded
from pipeline.data.readers.hdf5 import check_whole, checksum_of, datasets
from pipeline.writing import written

NAMES = tuple(column.name for column in COLUMNS)
LOG_PT = NAMES.index("log_pt")
# The format takes ln pT = 0 for padding, and so loses particles of exactly 1 GeV. They are written
# with this instead, which float32 cannot distinguish from 1 GeV once the logarithm is undone.
ALMOST_ZERO = np.float32(1e-8)
PER_EVENT = {"label": "pid", "globals": "global"}
CHUNK_ROWS = 256
DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError)
whole = partial(files.whole, kind="HDF5 file", faults=DAMAGED)


@contextlib.contextmanager
def open_h5(path: Path) -> Iterator[Entries]:
    """Open `path`; none of its jets is ever rejected, and padding is left out.

    Raises:
        BadInput: The file is no HDF5, has no `data`, or its arrays do not belong together.
    """
    with contextlib.ExitStack() as stack:
        with whole(path):
            file = stack.enter_context(h5py.File(path, "r", rdcc_nbytes=1 << 26))
            arrays = _arrays(path, file)

        def read(start: int, stop: int) -> tuple[Events, Rejected]:
            with whole(path):
                some = {name: array[start:stop] for name, array in arrays.items()}
            return _jets(path, some, start), {}

        yield Entries(len(arrays["data"]), read, checksum=checksum_of(arrays.values()))


def _arrays(path: Path, file: Any) -> dict[str, Any]:
    """Return the datasets of the open `file` that are read.

    Raises:
        BadInput: There is no `data`, or a dataset has another shape than it should.
    """
    names = ("data", *PER_EVENT.values(), "data_pid")
    found = datasets(path, file, names)
    if "data" not in found:
        message = (
            f"{path}: no dataset 'data', only {', '.join(file) or 'nothing'}. Expected "
            "OmniLearned's layout: data, and pid, global, data_pid where known."
        )
        raise BadInput(message)
    arrays = {name: found[name] for name in names if name in found}
    for array in arrays.values():
        check_whole(path, array)
    shape = arrays["data"].shape
    if len(shape) != 3 or shape[2] < len(NAMES) or arrays["data"].dtype.kind != "f":
        message = (
            f"{path}: data is {arrays['data'].dtype} {shape}; expected floats (jets, particles, "
            f"{len(NAMES)} or more): {', '.join(NAMES)}, and others."
        )
        raise BadInput(message)
    _check_shapes(path, arrays)
    return arrays


def _check_shapes(path: Path, arrays: dict[str, Any]) -> None:
    """Refuse arrays beside `data` that are not of its jets.

    Raises:
        BadInput: One has another shape.
    """
    shape = arrays["data"].shape
    expected = {"pid": shape[:1], "global": (shape[0], "any"), "data_pid": shape[:2]}
    for name, wanted in expected.items():
        if name in arrays and not _fits(arrays[name].shape, wanted):
            message = (
                f"{path}: {name} has shape {arrays[name].shape}; expected {wanted} beside data "
                f"{shape}. Make the file again with one entry for each jet."
            )
            raise BadInput(message)


def _fits(size: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    """Return whether a shape is the wanted one, in which "any" stands for any length."""
    pairs = zip(size, wanted, strict=False)
    return len(size) == len(wanted) and all(each in (length, "any") for length, each in pairs)


def _jets(path: Path, arrays: dict[str, Array], start: int) -> Events:
    """Return the jets of padded `arrays`, the first of which is jet `start` of the file."""
    data = rounded(path, "data", arrays["data"])
    there = data[:, :, LOG_PT] != 0
    particles = data[there]
    per_point: dict[str, Array] = {}
    if particles.shape[1] > len(NAMES):
        per_point["features"] = np.ascontiguousarray(particles[:, len(NAMES) :])
    if "data_pid" in arrays:
        per_point["data_pid"] = exact(path, "data_pid", arrays["data_pid"][there], np.int32)
    per_event: dict[str, Array] = {}
    if "pid" in arrays:
        per_event["label"] = exact(path, "pid", arrays["pid"], np.int32)
    if "global" in arrays:
        per_event["globals"] = rounded(path, "global", arrays["global"])
    return Events(
        source=str(path),
        columns=NAMES,
        points=np.ascontiguousarray(particles[:, : len(NAMES)]),
        offsets=offsets_of(np.count_nonzero(there, axis=1)),
        event_id=np.arange(start, start + len(data)),
        per_point=per_point,
        per_event=per_event,
    )


def from_four_vectors(
    vectors: Floats, sizes: Array, label: Array, *, source: str = "arrays"
) -> Events:
    """Return jets of particles `vectors` (P, 4) px, py, pz, E in GeV, as this format has them.

    `sizes` (E) are the particles of each jet, `label` (E) its class. The jet is the sum of its
    particles; `globals` are its pT in GeV, η, mass in GeV, and multiplicity / 100.
    """
    offsets = offsets_of(sizes)
    event = np.repeat(np.arange(len(sizes)), sizes)
    jet = np.stack([np.bincount(event, each, len(sizes)) for each in vectors.T])
    pt, eta, phi = _polar(jet)
    of_pt, of_eta, of_phi = _polar(vectors.T.astype(np.float64))
    dphi = (of_phi - phi[event] + np.pi) % (2 * np.pi) - np.pi
    mass = np.sqrt(np.maximum(jet[3] ** 2 - (jet[:3] ** 2).sum(axis=0), 0))
    with np.errstate(divide="ignore"):
        columns = [of_eta - eta[event], dphi, np.log(of_pt), np.log(vectors[:, 3])]
    return Events(
        source=source,
        columns=NAMES,
        points=np.column_stack(columns).astype(np.float32),
        offsets=offsets,
        event_id=np.arange(len(sizes)),
        per_event={
            "label": np.asarray(label).astype(np.int32),
            "globals": np.column_stack([pt, eta, mass, np.asarray(sizes) / 100]).astype(np.float32),
        },
    )


def _polar(vectors: Array) -> tuple[Array, Array, Array]:
    """Return pT, η and φ of momenta (3 or 4, N); η is 0 where there is no momentum."""
    pt = np.hypot(vectors[0], vectors[1])
    slope = np.divide(vectors[2], pt, out=np.zeros_like(pt), where=pt > 0)
    return pt, np.arcsinh(slope), np.arctan2(vectors[1], vectors[0])


def write_h5(path: Path, events: Events, *, length: int | None = None) -> None:
    """Write `events` as `path`, padded to `length` or the largest, whole or not at all.

    Of their arrays it takes `features` (P, any) and `data_pid` (P) of each particle, `label` (E)
    and `globals` (E, G), where they are.

    Raises:
        BadInput: A jet has more particles than `length`.
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    contents = _padded(events, length)
    with written(path) as temporary, h5py.File(temporary, "w") as file:
        for name, values in contents.items():
            chunks = (min(CHUNK_ROWS, len(values)), *values.shape[1:]) if values.size else None
            pack = {"compression": "gzip", "compression_opts": 4} if chunks else {}
            file.create_dataset(name, data=values, chunks=chunks, **pack)


def _padded(events: Events, length: int | None) -> dict[str, Array]:
    """Return the datasets of `events`.

    Raises:
        BadInput: A jet has more particles than `length`.
    """
    largest = int(events.sizes.max(initial=0))
    length = max(largest, 1) if length is None else length
    if largest > length:
        message = f"{events.source}: a jet has {largest} particles, more than length {length}."
        raise BadInput(message)
    points = events.points.copy()
    points[points[:, LOG_PT] == 0, LOG_PT] = ALMOST_ZERO
    extra = events.per_point.get("features", np.empty((len(points), 0), np.float32))
    slot = np.arange(len(points)) - events.offsets[events.event]
    contents = {"data": _spread(np.hstack([points, extra]), events, slot, length)}
    for name, theirs in PER_EVENT.items():
        if name in events.per_event:
            contents[theirs] = events.per_event[name]
    if "data_pid" in events.per_point:
        contents["data_pid"] = _spread(events.per_point["data_pid"], events, slot, length)
    return contents


def _spread(values: Array, events: Events, slot: Integers, length: int) -> Array:
    """Return `values` (P, …) as (E, length, …), the rest 0."""
    spread = np.zeros((len(events), length, *values.shape[1:]), values.dtype)
    spread[events.event, slot] = values
    return spread
