"""JetClass-II's files: parquet, one row a jet, lists of its constituents.

The schema of jet-universe/sophon: `part_*` are lists of float32, `part_charge` of int32, `part_is*`
of bool, `jet_label` is a whole number below 188, absent where nobody knows the class. The truth
`aux_*` and `genpart_*` is never read.
Rows are unpacked in batches, so memory is bounded by the range and one batch.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Integers
from pipeline.data.experiment import Entries, Rejected
from pipeline.data.experiments.jetclass import CLASSES2, COLUMN_NAMES, FLAGS, OF_JET, POINTS
from pipeline.data.readers.jets import checked, exact_charge, of_jet
from pipeline.data.readers.parquet_rows import Rows, opened_parquet, require, whole

CHARGE, LABEL = "part_charge", "jet_label"
NAMES = (*POINTS, CHARGE, *FLAGS, *OF_JET)
BATCH_ROWS = 4096


@contextlib.contextmanager
def open_parquet(path: Path) -> Iterator[Entries]:
    """Open `path`; jets of which the count of particles is wrong are counted.

    Raises:
        BadInput: The file is damaged, or lacks a column of JetClass-II.
    """
    with opened_parquet(path) as file:
        require(path, file, NAMES, "a file of JetClass-II")
        _check_types(path, file.schema)
        label = (LABEL,) if LABEL in file.schema.names else ()
        rows = Rows(path, file, (*NAMES, *label), BATCH_ROWS)

        def read(start: int, stop: int) -> tuple[Events, Rejected]:
            with whole(path):
                return _jets(path, rows.read(start, stop), start)

        yield Entries(len(rows), read, checksum=file.checksum)


def _check_types(path: Path, schema: Any) -> None:
    """Check that the columns of points are lists of float32.

    Raises:
        BadInput: One is not.
    """
    for name in POINTS:
        kind = schema.field(name).type
        if not hasattr(kind, "value_type") or not pa.types.is_float32(kind.value_type):
            message = f"{path}: column {name} holds {kind}; expected a list of float32."
            raise BadInput(message)


def _jets(path: Path, table: Any, start: int) -> tuple[Events, Rejected]:
    """Return the good jets of `table`, the first of which is jet `start` of the file."""
    columns = {
        name: _complete(path, name, table.column(name).combine_chunks())
        for name in table.column_names
    }
    label = {"label": _label(path, columns[LABEL].to_numpy())} if LABEL in columns else {}
    offsets = _offsets(columns[POINTS[0]])
    flat = {name: _flat(path, name, columns[name], offsets) for name in (*POINTS, CHARGE, *FLAGS)}
    values = {name: columns[name].to_numpy(zero_copy_only=False) for name in OF_JET}
    events = Events(
        source=str(path),
        columns=COLUMN_NAMES,
        points=np.column_stack([flat[name] for name in POINTS]),
        offsets=offsets,
        event_id=np.arange(start, start + len(table)),
        per_point={
            "charge": exact_charge(str(path), flat[CHARGE]),
            "species": np.column_stack([flat[name] for name in FLAGS]).astype(np.bool_),
        },
        per_event={**label, **of_jet(values)},
    )
    return checked(events, values["jet_nparticles"], {})


def _complete(path: Path, name: str, values: Any) -> Any:
    """Return `values`, an array.

    Raises:
        BadInput: A value is missing.
    """
    if values.null_count:
        message = (
            f"{path}: column {name} lacks {values.null_count} values. "
            "Take the file as it was released."
        )
        raise BadInput(message)
    return values


def _offsets(lists: Any) -> Integers:
    offsets: Integers = lists.offsets.to_numpy().astype(np.int64)
    rebased: Integers = offsets - offsets[0]
    return rebased


def _flat(path: Path, name: str, lists: Any, offsets: Integers) -> Array:
    """Return the values (P) of a column of lists.

    Raises:
        BadInput: The lists have other lengths than `offsets` say, or lack values.
    """
    if not hasattr(lists, "offsets") or not np.array_equal(_offsets(lists), offsets):
        message = (
            f"{path}: {name} and {POINTS[0]} have other lengths. "
            "The file is damaged; fetch it again."
        )
        raise BadInput(message)
    flat: Array = _complete(path, name, lists.flatten()).to_numpy(zero_copy_only=False)
    return flat


def _label(path: Path, values: Array) -> Array:
    """Return the class (E) of each jet.

    Raises:
        BadInput: There is no such class.
    """
    if values.dtype.kind not in "iu" or np.any((values < 0) | (values >= CLASSES2)):
        message = f"{path}: {LABEL} holds other values than 0 to {CLASSES2 - 1}, JetClass-II's."
        raise BadInput(message)
    return values.astype(np.int16)
