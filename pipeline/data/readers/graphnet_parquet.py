"""GraphNeT's parquet files, and Prometheus's own.

Nested: a row for each event, a struct of lists with its pulses, a struct with its truth. Flat:
`<table>/<table>_<n>.parquet` with a row for each pulse, and `truth/truth_<n>.parquet` beside that
folder with a row for each event; both have event_no.

In memory are the pulses of a range; of a flat file also the truth and one row of an index for each
event of the file.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.companions import found_beside
from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Integers
from pipeline.data.experiment import Entries, Rejected
from pipeline.data.experiments.graphnet import EVENT, ICECUBE86, Layout, companions
from pipeline.data.experiments.prometheus import PHOTONS
from pipeline.data.readers.exact import exact
from pipeline.data.readers.graphnet import Chosen, assembled, chosen
from pipeline.data.readers.parquet_rows import (
    Rows,
    batches,
    opened_parquet,
    require,
    values_of,
)
from pipeline.data.readers.runs import Runs, check_once, runs_of

NESTED_ROWS = 256


@contextlib.contextmanager
def _opened(path: Path, layout: Layout, pulses: str = "") -> Iterator[Entries]:
    """Open the file `path` in one of its two forms; none of its events is ever rejected.

    Raises:
        BadInput: It is damaged, or has not one table of pulses, or an event comes twice.
    """
    with opened_parquet(path) as file:
        structs = {
            each.name: [each.type.field(i).name for i in range(each.type.num_fields)]
            for each in file.schema
            if pa.types.is_struct(each.type)
        }
        if structs:
            yield _nested(path, file, layout, chosen(path, layout, structs, pulses), structs)
        else:
            yield _flat(path, file, layout, pulses)


open_icecube = partial(_opened, layout=ICECUBE86)
open_prometheus = partial(_opened, layout=PHOTONS)


def _nested(
    path: Path, file: Any, layout: Layout, tables: Chosen, structs: dict[str, list[str]]
) -> Entries:
    """Return the events of a file with one row for each."""
    owner = next(
        (each for each in (tables.truth, tables.pulses) if EVENT in structs.get(each, ())), ""
    )
    event_no = _event_ids(path, file, owner) if owner else None
    flat = {**tables.reals, **tables.integers}
    names = tuple(f"{tables.pulses}.{each}" for each in flat.values())
    names += tuple(f"{tables.truth}.{each}" for each in tables.labels.values())
    rows = Rows(path, file, names, NESTED_ROWS)

    def read(start: int, stop: int) -> tuple[Events, Rejected]:
        table = rows.read(start, stop).combine_chunks()
        sizes, pulses = _lists(path, _struct(table, tables.pulses), flat)
        truth = _struct(table, tables.truth) if tables.labels else {}
        events = assembled(
            path,
            layout,
            start=start,
            sizes=sizes,
            pulses=pulses,
            truth={name: _known(path, name, truth[each]) for name, each in tables.labels.items()},
            event_no=None if event_no is None else event_no[start:stop],
        )
        return events, {}

    return Entries(len(rows), read, checksum=file.checksum)


def _event_ids(path: Path, file: Any, struct: str) -> Integers:
    """Return event_no (E) of all rows, which `struct` holds.

    Raises:
        BadInput: One comes more than once, or is missing.
    """
    groups = list(range(file.metadata.num_row_groups))
    found = [
        exact(path, EVENT, values_of(path, EVENT, batch.column(0).flatten()[0]), np.int64)
        for batch in batches(path, file, (f"{struct}.{EVENT}",), groups)
    ]
    ids = np.concatenate([np.zeros(0, np.int64), *found])
    check_once(path, EVENT, ids)
    return ids


def _struct(table: Any, name: str) -> dict[str, Any]:
    """Return the fields of the struct column `name`, by name."""
    column = table.column(name)
    array = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
    names = [array.type.field(i).name for i in range(array.type.num_fields)]
    return dict(zip(names, array.flatten(), strict=True))


def _lists(
    path: Path, fields: dict[str, Any], names: dict[str, str]
) -> tuple[Integers, dict[str, Array]]:
    """Return how many pulses each event has, and the values of the lists `names`, by our names.

    Raises:
        BadInput: The lists of an event differ in length, or are no lists.
    """
    found, sizes = {}, np.zeros(0, np.int64)
    for number, (ours, name) in enumerate(names.items()):
        lists = fields[name]
        if not (pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)):
            message = f"{path}: {name} is {lists.type}; expected a list for each event."
            raise BadInput(message)
        lengths = pc.list_value_length(lists).fill_null(0).to_numpy().astype(np.int64)
        sizes = sizes if number else lengths
        if not np.array_equal(lengths, sizes):
            first = next(iter(names.values()))
            message = (
                f"{path}: an event has {first} of another length than {name}. Make the file again."
            )
            raise BadInput(message)
        found[ours] = values_of(path, name, pc.list_flatten(lists))
    return sizes, found


def _known(path: Path, name: str, column: Any) -> Array:
    """Return numbers of which some may be missing: NaN, or 0 among whole numbers."""
    if column.null_count:
        column = column.fill_null(0 if pa.types.is_integer(column.type) else np.nan)
    return values_of(path, name, column)


def _flat(path: Path, file: Any, layout: Layout, pulses: str) -> Entries:
    """Return the events of a file with one row for each pulse."""
    columns = file.schema.names
    found = found_beside(path, companions)
    tables = chosen(path, layout, {path.parent.name or path.stem: columns}, pulses)
    require(path, file, (EVENT,), layout.what)
    runs, truth = _joined(path, runs_of(path, file, EVENT), found[:1], layout)
    flat = {**tables.reals, **tables.integers}
    rows = Rows(path, file, tuple(flat.values()))

    def read(start: int, stop: int) -> tuple[Events, Rejected]:
        table = rows.read(int(runs.offsets[start]), int(runs.offsets[stop]))
        events = assembled(
            path,
            layout,
            start=start,
            sizes=np.diff(runs.offsets[start : stop + 1]),
            pulses={name: values_of(path, each, table.column(each)) for name, each in flat.items()},
            truth={name: values[start:stop] for name, values in truth.items()},
            event_no=runs.event_id[start:stop],
        )
        return events, {}

    return Entries(len(runs.event_id), read, checksum=file.checksum)


def _joined(
    path: Path, runs: Runs, truths: list[Path], layout: Layout
) -> tuple[Runs, dict[str, Array]]:
    """Return the events of `runs` and, after them, those of the truth without pulses; the truth.

    Raises:
        BadInput: Pulses are of no event in the truth, or an event is there twice.
    """
    if not truths:
        return runs, {}
    event_no, truth = _truth(truths[0], layout)
    order = np.argsort(event_no)
    index = np.minimum(np.searchsorted(event_no, runs.event_id, sorter=order), len(order) - 1)
    rows = order[index] if len(order) else np.zeros(0, np.int64)
    strange = event_no[rows] != runs.event_id if len(order) else np.ones(len(index), np.bool_)
    if strange.any():
        message = (
            f"{path}: {EVENT} {runs.event_id[np.argmax(strange)]} has pulses, but no row in "
            f"{truths[0]}. Take both files of the same conversion."
        )
        raise BadInput(message)
    silent = np.setdiff1d(np.arange(len(event_no)), rows)
    rows = np.concatenate([rows, silent])
    offsets = np.concatenate([runs.offsets, np.full(len(silent), runs.offsets[-1])])
    return Runs(event_no[rows], offsets), {name: values[rows] for name, values in truth.items()}


def _truth(path: Path, layout: Layout) -> tuple[Integers, dict[str, Array]]:
    """Return event_no (E) and what is known of each event in the truth file `path`."""
    with opened_parquet(path) as file:
        require(path, file, (EVENT,), layout.what)
        there = file.schema.names
        labels = {
            name: each
            for name, some in layout.truth.items()
            if (each := next((one for one in some if one in there), ""))
        }
        rows = Rows(path, file, (EVENT, *labels.values()))
        table = rows.read(0, len(rows)).combine_chunks()
    event_no = exact(path, EVENT, values_of(path, EVENT, table.column(EVENT)), np.int64)
    check_once(path, EVENT, event_no)
    return event_no, {name: _known(path, name, table.column(each)) for name, each in labels.items()}
