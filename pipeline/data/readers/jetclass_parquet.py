"""JetClass-II's files: parquet, one row a jet, lists of its constituents.

The schema of jet-universe/sophon: `part_*` are lists of float32, `part_charge` of int32, `part_is*`
of bool, `jet_label` is a whole number below 188. The truth `aux_*` and `genpart_*` is never read.
Rows are unpacked in batches, so memory is bounded by the range and one batch.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Integers
from pipeline.data.experiment import Entries, Rejected
from pipeline.data.experiments.jetclass import CLASSES2, COLUMN_NAMES, FLAGS, OF_JET, POINTS
from pipeline.data.readers.jets import checked, exact_charge, of_jet

CHARGE, LABEL = "part_charge", "jet_label"
NAMES = (*POINTS, CHARGE, *FLAGS, LABEL, *OF_JET)
BATCH_ROWS = 4096


class Rows:
    """Columns of a parquet file, of which ranges of rows are read in rising order."""

    def __init__(self, file: Any, names: tuple[str, ...]) -> None:
        self._file, self._names = file, list(names)
        groups = range(file.metadata.num_row_groups)
        sizes = [file.metadata.row_group(group).num_rows for group in groups]
        self._begins = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._seek(0)

    def _seek(self, row: int) -> None:
        """Stand before the row group that holds `row`."""
        group = int(np.searchsorted(self._begins, row, side="right")) - 1
        self._batches = self._file.iter_batches(
            BATCH_ROWS, row_groups=range(group, len(self._begins) - 1), columns=self._names
        )
        self._batch: Any = None
        self._begin = self._end = int(self._begins[group])

    def read(self, start: int, stop: int) -> Any:
        """Return the rows `start` to `stop` as one batch."""
        next_group = int(np.searchsorted(self._begins, self._end, side="right"))
        if start < self._begin or start >= self._begins[min(next_group, len(self._begins) - 1)]:
            self._seek(start)
        some = []
        while start < stop:
            while self._end <= start:
                self._batch = next(self._batches)
                self._begin, self._end = self._end, self._end + len(self._batch)
            count = min(stop, self._end) - start
            some.append(self._batch.slice(start - self._begin, count))
            start += count
        return pa.concat_batches(some)


@contextlib.contextmanager
def open_parquet(path: Path) -> Iterator[Entries]:
    """Open `path`; jets of which the count of particles is wrong are counted.

    Raises:
        BadInput: The file is damaged, or lacks a column of JetClass-II.
    """
    with contextlib.ExitStack() as stack:
        with whole(path):
            file = stack.enter_context(pq.ParquetFile(path, buffer_size=1 << 20))
            _check_schema(path, file.schema_arrow)
            rows = Rows(file, NAMES)

        def read(start: int, stop: int) -> tuple[Events, Rejected]:
            with whole(path):
                return _jets(path, rows.read(start, stop), start)

        yield Entries(file.metadata.num_rows, read)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises of a damaged file into one message.

    Raises:
        BadInput: The body met a fault of the file.
    """
    try:
        yield
    except BadInput:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, StopIteration) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        message = f"{path}: not a whole parquet file ({reason}). Fetch or make it again."
        raise BadInput(message) from error


def _check_schema(path: Path, schema: Any) -> None:
    """Check that all columns are there, in their types.

    Raises:
        BadInput: One is not.
    """
    missing = [name for name in NAMES if name not in schema.names]
    if missing:
        message = f"{path}: no column {', '.join(missing)}. Expected a file of JetClass-II."
        raise BadInput(message)
    for name in POINTS:
        kind = schema.field(name).type
        if not hasattr(kind, "value_type") or not pa.types.is_float32(kind.value_type):
            message = f"{path}: column {name} holds {kind}; expected a list of float32."
            raise BadInput(message)


def _jets(path: Path, batch: Any, start: int) -> tuple[Events, Rejected]:
    """Return the good jets of `batch`, the first of which is jet `start` of the file."""
    columns = {name: _complete(path, name, batch.column(name)) for name in NAMES}
    offsets = _offsets(columns[POINTS[0]])
    flat = {name: _flat(path, name, columns[name], offsets) for name in (*POINTS, CHARGE, *FLAGS)}
    values = {name: columns[name].to_numpy(zero_copy_only=False) for name in OF_JET}
    events = Events(
        source=str(path),
        columns=COLUMN_NAMES,
        points=np.column_stack([flat[name] for name in POINTS]),
        offsets=offsets,
        event_id=np.arange(start, start + len(batch)),
        per_point={
            "charge": exact_charge(str(path), flat[CHARGE]),
            "species": np.column_stack([flat[name] for name in FLAGS]).astype(np.bool_),
        },
        per_event={"label": _label(path, columns[LABEL].to_numpy()), **of_jet(values)},
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
