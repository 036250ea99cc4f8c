"""Batches of the Kaggle competition "IceCube – Neutrinos in Deep Ice".

`train/batch_<n>.parquet` has a row for each pulse: event_id, sensor_id, time (ns), charge (p.e.),
auxiliary. `train_meta.parquet` has a row for each event: batch_id, event_id, first_pulse_index,
last_pulse_index (which is included), and, where known, azimuth and zenith of where the particle
came from. `sensor_geometry.csv` has a row for each sensor: sensor_id, x, y, z (m).

In memory are one row of the index for each event of the batch, and the pulses of a range.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.companions import found_beside, names_of
from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Floats, Integers
from pipeline.data.experiment import Entries, Rejected
from pipeline.data.experiments.icecube import COLUMNS, GEOMETRY, companions
from pipeline.data.readers.exact import exact, rounded
from pipeline.data.readers.parquet_rows import (
    Rows,
    batches,
    groups_with,
    opened_parquet,
    require,
    values_of,
)
from pipeline.data.readers.runs import check_once, runs_of

PULSE = ("event_id", "sensor_id", "time", "charge", "auxiliary")
META = ("batch_id", "event_id", "first_pulse_index", "last_pulse_index")
ANGLES = ("azimuth", "zenith")
LAYOUT = "the layout of the Kaggle competition"


@dataclass(frozen=True)
class Index:
    """The events of a batch: their ids (E), the rows of their pulses, what is known of each."""

    event_id: Integers
    offsets: Integers
    labels: dict[str, Array] = field(default_factory=dict)


@contextlib.contextmanager
def open_batch(path: Path) -> Iterator[Entries]:
    """Open the batch `path`; events with a pulse without charge are counted `no_charge`.

    Raises:
        BadInput: The batch is damaged, or it, its truth and the geometry do not fit together.
    """
    found = {each.name: each for each in reversed(found_beside(path, companions))}
    geometry = read_geometry(path, found.pop(GEOMETRY, None))
    with opened_parquet(path) as file:
        require(path, file, PULSE, LAYOUT)
        rows = Rows(path, file, PULSE)
        meta = next(iter(found.values()), None)
        index = _scanned(path, file) if meta is None else _from_meta(path, meta, len(rows))

        def read(start: int, stop: int) -> tuple[Events, Rejected]:
            first, last = int(index.offsets[start]), int(index.offsets[stop])
            events = _events(path, rows.read(first, last), index, start, stop)
            _check_sensors(path, events, len(geometry))
            dark = np.bincount(events.event[events.column("charge") <= 0], minlength=len(events))
            return events.select(dark == 0), {"no_charge": int(np.count_nonzero(dark))}

        yield Entries(
            len(index.event_id), read, tables={"geometry": geometry}, checksum=file.checksum
        )


def read_geometry(batch: Path, path: Path | None) -> Floats:
    """Return the positions (sensors, 3) in `path`, in m; row i is that of sensor i.

    Raises:
        BadInput: There is no such file for `batch`, or it does not list sensors 0, 1, 2, …
    """
    if path is None:
        message = (
            f"{batch}: no {GEOMETRY} beside it or in the folder above. "
            "Put it there: it comes with the competition's data."
        )
        raise BadInput(message)
    try:
        with path.open(encoding="utf-8") as stream:
            names = tuple(stream.readline().strip().split(","))
            table = np.loadtxt(stream, delimiter=",", ndmin=2)
        columns = {name: table[:, names.index(name)] for name in ("sensor_id", "x", "y", "z")}
    except (ValueError, IndexError, OSError) as error:
        message = (
            f"{path}: not a table of sensors ({error}). Expected the columns sensor_id, x, y, z "
            "with numbers; fetch it again."
        )
        raise BadInput(message) from error
    order = np.argsort(columns["sensor_id"], kind="stable")
    if not np.array_equal(columns["sensor_id"][order], np.arange(len(table))):
        message = f"{path}: sensor_id is not 0 to {len(table) - 1}, each once. Fetch it again."
        raise BadInput(message)
    return rounded(path, "position", np.column_stack([columns[axis] for axis in "xyz"])[order])


def _from_meta(path: Path, meta: Path, pulses: int) -> Index:
    """Return the events of the batch `path` as its `meta` has them.

    Raises:
        BadInput: It lists no events of this batch, or others than the batch holds.
    """
    names = (re.fullmatch(r"batch_(\d+)\.parquet", each.name) for each in names_of(path))
    number = next(filter(None, names), None)
    if number is None:
        message = f"{path}: expected a name like batch_7.parquet, whose truth is in {meta.name}."
        raise BadInput(message)
    table = batch_meta(meta, int(number[1]))
    first, last = table["first_pulse_index"], table["last_pulse_index"] + 1
    order = np.lexsort((last, first))
    first, last = first[order], last[order]
    offsets = np.concatenate([first[:1], last])
    if not len(first) or np.any(offsets[:-1] != first) or np.any(first > last) or offsets[0]:
        message = (
            f"{meta}: the pulses of the {len(first)} events of batch {number[1]} do not follow "
            "each other from 0 on. Take the file of the same release as the batch."
        )
        raise BadInput(message)
    if offsets[-1] != pulses:
        message = (
            f"{meta}: the events of batch {number[1]} have {offsets[-1]} pulses, but {path.name} "
            f"has {pulses}. Take both files of the same release."
        )
        raise BadInput(message)
    check_once(meta, "event_id", table["event_id"])
    labels = {name: table[name][order] for name in ANGLES if name in table}
    return Index(table["event_id"][order], offsets, labels)


def batch_meta(path: Path, number: int) -> dict[str, Array]:
    """Return the rows of batch `number` in the truth file `path`, by column.

    Row groups that by their statistics hold other batches are not read, others page by page: the
    whole of the competition's truth is 132 million rows.
    """
    with opened_parquet(path) as file:
        require(path, file, META, LAYOUT)
        angles = tuple(name for name in ANGLES if name in file.schema.names)
        found: dict[str, list[Array]] = {name: [] for name in META + angles}
        for batch in batches(path, file, META + angles, groups_with(file, META[0], number)):
            mine = values_of(path, META[0], batch.column(0)) == number
            if mine.any():
                for name, column in zip(found, batch.columns, strict=True):
                    found[name].append(values_of(path, name, column)[mine])
    if not found[META[0]]:
        message = f"{path}: no event of batch {number}. Take the file of the batch's release."
        raise BadInput(message)
    table = {name: np.concatenate(each) for name, each in found.items()}
    whole_numbers = {name: exact(path, name, table[name], np.int64) for name in META}
    return {**table, **whole_numbers}


def _scanned(path: Path, file: Any) -> Index:
    """Return the events of a batch without truth, by the ids of its pulses.

    Raises:
        BadInput: The pulses of an event are not together.
    """
    runs = runs_of(path, file, PULSE[0])
    return Index(runs.event_id, runs.offsets)


def _events(path: Path, table: Any, index: Index, start: int, stop: int) -> Events:
    """Return the events `start` to `stop`, whose pulses are `table`.

    Raises:
        BadInput: A pulse is another event's, or a value does not fit its type.
    """
    raw = {name: values_of(path, name, table.column(name)) for name in PULSE}
    offsets = index.offsets[start : stop + 1] - index.offsets[start]
    event = np.repeat(np.arange(stop - start), np.diff(offsets))
    expected = index.event_id[start:stop][event]
    if not np.array_equal(raw["event_id"], expected):
        row = int(np.argmin(raw["event_id"] == expected))
        message = (
            f"{path}: pulse {index.offsets[start] + row} is of event {raw['event_id'][row]}, but "
            f"by its meta file of event {expected[row]}. Take both files of the same release."
        )
        raise BadInput(message)
    charge = rounded(path, "charge", raw["charge"])
    total = np.bincount(event, weights=charge, minlength=stop - start)
    return Events(
        source=str(path),
        columns=tuple(column.name for column in COLUMNS),
        points=np.column_stack([exact(path, "time", raw["time"], np.float32), charge]),
        offsets=offsets,
        event_id=np.arange(start, stop),
        per_point={
            "sensor_id": exact(path, "sensor_id", raw["sensor_id"], np.uint16),
            "auxiliary": exact(path, "auxiliary", raw["auxiliary"], np.bool_),
        },
        per_event={
            "source_event_id": index.event_id[start:stop],
            "total_charge": total.astype(np.float32),
            "pulses": np.diff(offsets).astype(np.int32),
            **{name: values[start:stop] for name, values in index.labels.items()},
        },
    )


def _check_sensors(path: Path, events: Events, sensors: int) -> None:
    """Check that the geometry has all sensors of the pulses.

    Raises:
        BadInput: It has not.
    """
    most = int(events.per_point["sensor_id"].max(initial=0))
    if most >= sensors and len(events.points):
        message = (
            f"{path}: sensor_id {most}, but {GEOMETRY} ends with sensor {sensors - 1}. "
            "Take both files of the same release."
        )
        raise BadInput(message)
