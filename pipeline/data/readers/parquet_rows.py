"""Ranges of rows of a parquet file, decoded page by page.

Memory grows with the range, and by at most a page of each column and BATCH_ROWS rows beyond it,
however large the row groups are. Ranges that rise are decoded once; where a range starts in the
middle of a row group, what lies before it in that group is decoded and dropped.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data import files
from pipeline.data.errors import BadInput
from pipeline.data.events import Array, offsets_of

BATCH_ROWS = 1 << 16
BUFFER_BYTES = 1 << 20
DAMAGED = (pa.ArrowException, OSError, ValueError)
whole = partial(files.whole, kind="parquet file", faults=DAMAGED)


@dataclass(frozen=True)
class OpenFile:
    """An open parquet file: its columns, in types that parquet itself has, and its row groups."""

    schema: Any
    metadata: Any
    iter_batches: Callable[..., Iterator[Any]]
    checksum: str = ""


@contextlib.contextmanager
def opened_parquet(path: Path) -> Iterator[OpenFile]:
    """Open the parquet file `path` such that its row groups are streamed.

    Pages that have a checksum are held to it as they are read.

    Raises:
        BadInput: It is no whole parquet file.
    """
    with whole(path), _without(extensions(pq.read_schema(path))):
        file = pq.ParquetFile(
            path, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True
        )
        checksum = "CRC-32 of pages" if _has_checksums(path, file.metadata) else ""
        opened = OpenFile(file.schema_arrow, file.metadata, file.iter_batches, checksum)
    with contextlib.closing(file):
        yield opened


def _has_checksums(path: Path, metadata: Any) -> bool:
    """Return whether the first page of the file has a checksum, of which pyarrow says nothing.

    A page's header is a Thrift struct in the compact protocol: type, size, and size compressed,
    each a byte for the field and a varint, and then, if there, the checksum, of 32 bits (0x15).
    """
    if not (metadata.num_row_groups and metadata.num_columns):
        return False
    column = metadata.row_group(0).column(0)
    with path.open("rb") as stream:
        stream.seek(column.dictionary_page_offset or column.data_page_offset)
        header = stream.read(64)
    offset = 0
    for _ in range(3):
        offset += 1
        while header[offset] & 0x80:
            offset += 1
        offset += 1
    return header[offset] == 0x15


def extensions(types: Any) -> dict[str, Any]:
    """Return the extension types of Python by name in `types`: a schema, or what has fields."""
    found: dict[str, Any] = {}
    for each in (types.field(number).type for number in range(_width(types))):
        if isinstance(each, pa.ExtensionType):
            found |= {each.extension_name: each, **extensions(each.storage_type)}
        else:
            found |= extensions(each)
    return found


def _width(types: Any) -> int:
    return len(types) if isinstance(types, pa.Schema) else int(types.num_fields)


@contextlib.contextmanager
def _without(types: dict[str, Any]) -> Iterator[None]:
    """Let nobody know these extension types for a while.

    A library that is imported (awkward) registers its own, and pyarrow then reads the same file as
    other types. A file that is opened meanwhile keeps the types that parquet itself has.
    """
    for name in types:
        pa.unregister_extension_type(name)
    try:
        yield
    finally:
        for each in types.values():
            pa.register_extension_type(each)


def require(path: Path, file: Any, names: tuple[str, ...], layout: str) -> None:
    """Check that the open `file` has the columns `names` of `layout`.

    Raises:
        BadInput: It lacks one of them.
    """
    there = file.schema.names
    missing = [name for name in names if name not in there]
    if missing:
        message = (
            f"{path}: no column {', '.join(missing)}, only {', '.join(there) or 'none'}. "
            f"Expected {layout}."
        )
        raise BadInput(message)


def batches(
    path: Path, file: Any, names: tuple[str, ...], groups: list[int], rows: int = BATCH_ROWS
) -> Iterator[Any]:
    """Yield the columns `names` of the row `groups` of the open `file`, `rows` of them at a time.

    Raises:
        BadInput: The file is damaged.
    """
    with whole(path):
        found = file.iter_batches(rows, row_groups=groups, columns=list(names), use_threads=False)
        for batch in found:
            yield batch.select(_top(names))


def _top(names: tuple[str, ...]) -> list[str]:
    """Return the columns of which `names` are parts: "truth" of "truth.energy"."""
    return list(dict.fromkeys(name.partition(".")[0] for name in names))


def groups_with(file: Any, name: str, value: int) -> list[int]:
    """Return the row groups of the open `file` that by their statistics may hold `value`."""
    found = []
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        columns = [group.column(i) for i in range(group.num_columns)]
        known = next(each for each in columns if each.path_in_schema == name).statistics
        if known is None or not known.has_min_max or known.min <= value <= known.max:
            found.append(number)
    return found


class Rows:
    """Rows of the open parquet `file`, the columns `names` alone, or parts of them: "truth.pid"."""

    def __init__(
        self, path: Path, file: Any, names: tuple[str, ...], batch_rows: int = BATCH_ROWS
    ) -> None:
        self.path = path
        self._file = file
        self._names = names
        self._batch_rows = batch_rows
        groups = range(file.metadata.num_row_groups)
        self._begins = offsets_of(np.array([file.metadata.row_group(i).num_rows for i in groups]))
        self._at = -1
        self._rest: Any = None
        self._batches: Iterator[Any] = iter(())

    def __len__(self) -> int:
        return int(self._begins[-1])

    def read(self, first: int, last: int) -> Any:
        """Return the rows `first` to `last`, the last not included, as a pyarrow table.

        Raises:
            BadInput: The file is damaged.
        """
        if first >= last:
            fields = [self._file.schema.field(name) for name in _top(self._names)]
            return pa.schema(fields).empty_table()
        if not self._at <= first < self._group_end(self._at):
            self._seek(first)
        slices = []
        while self._at < last:
            batch = self._next()
            skipped = min(max(first - self._at, 0), len(batch))
            taken = min(last - self._at, len(batch))
            if taken > skipped:
                slices.append(batch.slice(skipped, taken - skipped))
            self._rest = batch.slice(taken)
            self._at += taken
        return pa.Table.from_batches(slices)

    def _group(self, row: int) -> int:
        return int(np.searchsorted(self._begins, row, side="right")) - 1

    def _group_end(self, row: int) -> int:
        group = self._group(row)
        return int(self._begins[group + 1]) if 0 <= group < len(self._begins) - 1 else -1

    def _seek(self, row: int) -> None:
        """Go to the start of the row group that holds `row`."""
        group = self._group(row)
        self._at, self._rest = int(self._begins[group]), None
        later = list(range(group, len(self._begins) - 1))
        self._batches = batches(self.path, self._file, self._names, later, self._batch_rows)

    def _next(self) -> Any:
        """Return the batch that starts where we are; at least one row of it is new."""
        while self._rest is None or not len(self._rest):
            self._rest = next(self._batches, None)
            if self._rest is None:
                message = f"{self.path}: the file ends early. Fetch or make it again."
                raise BadInput(message)
        return self._rest


def values_of(path: Path, name: str, column: Any) -> Array:
    """Return the numbers or flags of a pyarrow array, none of which may be missing.

    Raises:
        BadInput: One is missing, or they are no numbers.
    """
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        message = f"{path}: {name} is {kind}; expected numbers. Make the file again."
        raise BadInput(message)
    if column.null_count:
        message = (
            f"{path}: {name} lacks {column.null_count} of {len(column)} values. "
            "Make the file again, or leave it out of the dataset."
        )
        raise BadInput(message)
    return np.asarray(column.to_numpy(zero_copy_only=False))
