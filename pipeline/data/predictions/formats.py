"""A table of predictions in the formats that others read: parquet, a ROOT tree, npz.

In the latter two `file` is a number, into the list of names `files`. Axes: E events, P points.
"""

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, offsets_of
from pipeline.data.predictions.parts import write_groups
from pipeline.data.predictions.table import flat_values, tables
from pipeline.leftovers import hidden
from pipeline.writing import written

ENDINGS = (".parquet", ".root", ".npz")
TREE, COUNTER, POINTS = "predictions", "n_points", "points"


def check_ending(path: Path) -> None:
    """Check that a table can be written as the ending of `path` says, and that nothing is there.

    Raises:
        BadInput: It cannot, or something is.
    """
    if path.suffix not in ENDINGS:
        message = f"{path}: a name that ends in none of {', '.join(ENDINGS)}. Give another: --to"
        raise BadInput(message)
    if path.exists():
        message = f"{path}: is there already. Name another file with --to, or move it away."
        raise BadInput(message)
    if not path.absolute().parent.is_dir():
        message = f"{path}: there is no folder {path.absolute().parent}. Make it, or name another."
        raise BadInput(message)


def save(path: Path, groups: Iterable[pa.Table]) -> int:
    """Write the rows as the ending of `path` says, whole or not at all; return how many there are.

    Of parquet each of the `groups` is a row group. Memory grows with a column of npz, and not at
    all with the others.

    Raises:
        BadInput: There are no rows, or the format cannot hold a column.
        OSError: The disk is full; nothing half-written stays.
    """
    if path.suffix == ".parquet":
        return write_groups(path, groups)
    between = hidden(path.with_suffix(".parquet"))
    try:
        count = write_groups(between, groups)
        (_to_root if path.suffix == ".root" else _to_npz)(between, path)
    finally:
        between.unlink(missing_ok=True)
    return count


def _to_root(source: Path, path: Path) -> None:
    """Write the table `source` as the tree "predictions" of a ROOT file, and the names of files.

    Raises:
        BadInput: A column holds lists of lists, which uproot writes not.
    """
    import uproot

    schema = pq.read_schema(source)
    deep = [each.name for each in schema if _depth(each.type) > 1]
    if deep:
        message = f"{path}: a ROOT tree cannot hold {', '.join(deep)}, lists of lists. Use .parquet"
        raise BadInput(message)
    numbers: dict[str, int] = {}
    with written(path) as unfinished, uproot.recreate(unfinished) as file:
        tree = None
        for table in tables(source):
            branches = _branches(table, numbers)
            if tree is None:
                kinds = {name: _kind(each) for name, each in branches.items()}
                tree = file.mktree(
                    TREE,
                    kinds,
                    counter_name=lambda _: COUNTER,
                    field_name=lambda _, inner: inner,
                )
            tree.extend(branches)
        file["files"] = "\n".join(numbers)


def _branches(table: pa.Table, numbers: dict[str, int]) -> dict[str, Any]:
    """Return the columns as branches, those of points in one record that has one counter."""
    import awkward

    arrays = _arrays(table, numbers)
    lists = [name for name in arrays if _is_list(table.schema, name)]
    branches: dict[str, Any] = {name: arrays[name] for name in arrays if name not in lists}
    if lists:
        sizes = np.diff(_offsets(table, lists[0]))
        of_points = {name: awkward.unflatten(arrays[name], sizes) for name in lists}
        branches[POINTS] = awkward.zip(of_points)
    return branches


def _to_npz(source: Path, path: Path) -> None:
    """Write the columns of the table `source` into an npz file; lists one after another.

    `offsets` (E + 1) says where those of each event begin.
    """
    schema = pq.read_schema(source)
    numbers: dict[str, int] = {}
    with written(path) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        sizes: list[Array] = []
        for field in schema:
            parts = []
            for table in tables(source, [field.name]):
                parts.append(_arrays(table, numbers)[field.name])
                if _is_list(schema, field.name) and field.name == _first_list(schema):
                    sizes.append(np.diff(_offsets(table, field.name)))
            _member(archive, field.name, np.concatenate(parts))
        if sizes:
            _member(archive, "offsets", offsets_of(np.concatenate(sizes)))
        _member(archive, "files", np.array(list(numbers)))


def _member(archive: zipfile.ZipFile, name: str, values: Array) -> None:
    """Write `values` as the member `name` of an npz file."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
        np.lib.format.write_array(stream, values, allow_pickle=False)


def _arrays(table: pa.Table, numbers: dict[str, int]) -> dict[str, Array]:
    """Return the columns as arrays, of events or of all points; files by their `numbers`."""
    found: dict[str, Array] = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if pa.types.is_string(column.type):
            codes = (numbers.setdefault(each, len(numbers)) for each in column.to_pylist())
            found[name] = np.fromiter(codes, np.int32, len(column))
        else:
            found[name] = flat_values(column)
    return found


def _is_list(schema: pa.Schema, name: str) -> bool:
    return bool(pa.types.is_list(schema.field(name).type))


def _first_list(schema: pa.Schema) -> str:
    return next(str(each.name) for each in schema if pa.types.is_list(each.type))


def _offsets(table: pa.Table, name: str) -> Array:
    """Return the offsets (E + 1) of a column of lists, from 0."""
    offsets: Array = table.column(name).combine_chunks().offsets.to_numpy().astype(np.int64)
    rebased: Array = offsets - offsets[0]
    return rebased


def _depth(kind: pa.DataType) -> int:
    """Return how many lists are in each other."""
    is_any_list = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
    return 1 + _depth(kind.value_type) if is_any_list else 0


def _kind(values: Any) -> Any:
    """Return the type of a branch that holds `values`, as uproot takes it."""
    if isinstance(values, np.ndarray):
        return np.dtype((values.dtype, values.shape[1:]))
    return values.type.content
