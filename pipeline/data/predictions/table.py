"""The table of predictions: a row for each event, with where it is from, and its truth if known.

Columns: `event_id`; `file` and `entry`, the source file's name and the event's place in it, from 0;
what is predicted; `truth_*`. What belongs to points is a list an event. The unit of a column stands
in the metadata of its field. Axes: E events, P points, C columns.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Integers, Rows
from pipeline.downstream.predicted import TRUTH_UNITS, Predicted

FORMAT = 1
ABOUT = b"cosmotron"  # in the metadata of the schema: what the file is, as JSON
UNIT = b"unit"
OWN = ("event_id", "file", "entry")
TRUTH = "truth_"


@dataclass(frozen=True)
class Described:
    """What of the arrays that a model predicts is known beforehand, and what decides their values.

    `predicted` is by the name of an array. One that it does not have is a column of its name; where
    an event has one point each it is taken to be of points if `of_points`. `made_from` is a digest
    of weights, events and settings: a part that has another is of something else.
    """

    task: str
    predicted: Mapping[str, Predicted] = field(default_factory=dict)
    of_points: bool = False
    made_from: str = ""

    def of(self, name: str, rows: int, events: Events) -> Predicted:
        """Return what the array `name` of `rows` rows is, as predicted for `events`.

        Raises:
            BadInput: It is of neither the points nor the events.
        """
        per_point, per_event = rows == len(events.points), rows == len(events)
        known = self.predicted.get(name)
        if known is not None and (per_point if known.per == "point" else per_event):
            return known
        if known is not None or not (per_point or per_event):
            message = (
                f"{events.source}: {rows} rows of {name!r} were predicted for {len(events)} events "
                f"of {len(events.points)} points. Let `predict` return one for each of either."
            )
            raise BadInput(message)
        return Predicted("point" if per_point and (self.of_points or not per_event) else "event")


@dataclass(frozen=True)
class Table:
    """What is predicted of some `events`, whose further arrays are the truth; (E) `files`, `entry`.

    Raises:
        BadInput: Two columns have one name.
    """

    described: Described
    events: Events
    files: Sequence[str]
    entry: Integers
    predicted: Rows

    def arrow(self) -> pa.Table:
        """Return the table, with what it is in the metadata of its schema."""
        columns: dict[str, Any] = {
            "event_id": pa.array(self.events.event_id),
            "file": pa.array(self.files, pa.string()),
            "entry": pa.array(self.entry),
        }
        units: dict[str, str] = {}
        shapes: dict[str, dict[str, Any]] = {}
        for name, values in self.predicted.items():
            kind = self.described.of(name, len(values), self.events)
            names = kind.columns or (name,)
            parts = values.T if kind.columns else [values]
            self._add(columns, dict(zip(names, parts, strict=True)), per_point=kind.per == "point")
            units |= dict.fromkeys(names, kind.unit)
            shapes[name] = {"per": kind.per, "columns": list(kind.columns)}
        for per_point, truth in ((True, self.events.per_point), (False, self.events.per_event)):
            self._add(
                columns, {f"{TRUTH}{name}": v for name, v in truth.items()}, per_point=per_point
            )
            units |= {f"{TRUTH}{name}": TRUTH_UNITS.get(name, "") for name in truth}
        fields = [
            pa.field(name, each.type, nullable=False, metadata=_unit(units.get(name, "")))
            for name, each in columns.items()
        ]
        schema = pa.schema(fields, metadata={ABOUT: self._about(shapes)})
        return pa.Table.from_arrays(list(columns.values()), schema=schema)

    def _add(self, columns: dict[str, Any], more: Rows, *, per_point: bool) -> None:
        """Put `more` columns beside `columns`: values of events, or of points as lists.

        Raises:
            BadInput: One of them is there.
        """
        for name, values in more.items():
            if name in columns:
                message = (
                    f"{self.events.source}: two columns {name!r} in the table of predictions, "
                    f"which has {', '.join(OWN)} and {TRUTH}* itself. Let `predict` of the task "
                    "name what it returns otherwise."
                )
                raise BadInput(message)
            flat = _column(values)
            columns[name] = self._lists(flat) if per_point else flat

    def _lists(self, values: pa.Array) -> pa.Array:
        """Return `values` (P) as one list for each event."""
        offsets = pa.array(self.events.offsets.astype(np.int32))
        kind = pa.list_(pa.field("element", values.type, nullable=False))
        return pa.ListArray.from_arrays(offsets, values, type=kind)

    def _about(self, shapes: Mapping[str, Any]) -> bytes:
        what = {
            "format": FORMAT,
            "task": self.described.task,
            "made_from": self.described.made_from,
            "arrays": shapes,
        }
        return json.dumps(what, sort_keys=True).encode()


def _unit(unit: str) -> dict[bytes, bytes] | None:
    return {UNIT: unit.encode()} if unit else None


def _column(values: Array) -> pa.Array:
    """Return `values` (N, …) as a column: of more than one axis, lists of fixed sizes."""
    if values.ndim == 1:
        return pa.array(np.ascontiguousarray(values))
    inner = _column(values.reshape(-1, *values.shape[2:]))
    kind = pa.list_(pa.field("element", inner.type, nullable=False), values.shape[1])
    return pa.FixedSizeListArray.from_arrays(inner, type=kind)


def about(path: Path) -> dict[str, Any]:
    """Return what the file `path` says of itself.

    Raises:
        BadInput: It is no table of predictions, or is damaged.
    """
    try:
        found: dict[str, Any] = json.loads(pq.read_schema(path).metadata[ABOUT])
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        message = (
            f"{path}: no table of predictions ({type(error).__name__}). cosmotron run writes one "
            "with each evaluation, and cosmotron predict."
        )
        raise BadInput(message) from error
    return found


def tables(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the row groups of `path`, in order, each held to the checksums of its pages.

    Raises:
        BadInput: It is damaged.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for number in range(file.num_row_groups):
                yield file.read_row_group(number, columns=columns)
    except (OSError, pa.ArrowInvalid) as error:
        reason = str(error).partition("\n")[0]
        message = f"{path}: damaged ({reason}). Remove it, and run the evaluation again."
        raise BadInput(message) from error


def arrays(path: Path) -> dict[str, Array]:
    """Return the predicted arrays, (E, …) or (P, …) each, exactly as the model returned them.

    Raises:
        BadInput: The file is no table of predictions, or is damaged.
    """
    shapes: dict[str, dict[str, Any]] = about(path)["arrays"]
    parts: dict[str, list[Array]] = {name: [] for name in shapes}
    for table in tables(path, _columns(shapes)):
        for name, shape in shapes.items():
            parts[name].append(_array(table, name, shape["columns"]))
    return {name: np.concatenate(each) for name, each in parts.items()}


def _columns(shapes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the columns that hold the arrays of these `shapes`."""
    return [each for name, shape in shapes.items() for each in shape["columns"] or [name]]


class Reader:
    """The predicted arrays of a file, some events at a time, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shapes: dict[str, dict[str, Any]] = about(path)["arrays"]
        shapes = self._shapes.items()
        self._groups = tables(
            path, [c for name, shape in shapes for c in shape["columns"] or [name]]
        )
        self._held = next(self._groups)

    def following(self, events: int) -> dict[str, Array]:
        """Return the arrays of the following `events`, (E, …) or (P, …) each.

        Raises:
            BadInput: The file is damaged, or has fewer rows.
        """
        while len(self._held) < events:
            more = next(self._groups, None)
            if more is None:
                message = f"{self.path}: has fewer rows than events. Remove it, and run again."
                raise BadInput(message)
            self._held = pa.concat_tables([self._held, more])
        rows, self._held = self._held.slice(0, events), self._held.slice(events)
        return {name: _array(rows, name, each["columns"]) for name, each in self._shapes.items()}


def _array(table: pa.Table, name: str, columns: Sequence[str]) -> Array:
    """Return the array `name` of the rows of `table`, which is in `columns` or in its own."""
    values = [flat_values(table.column(each).combine_chunks()) for each in columns or [name]]
    return np.stack(values, 1) if columns else values[0]


def flat_values(column: pa.Array) -> Array:
    """Return a column of events, (E, …), or the values of all points, (P, …), if it holds lists."""
    if pa.types.is_list(column.type):
        column = column.flatten()
    shape: list[int] = [len(column)]
    while pa.types.is_fixed_size_list(column.type):
        shape.append(column.type.list_size)
        column = column.flatten()
    found: Array = column.to_numpy(zero_copy_only=False)
    return found.reshape(shape)


def read(path: Path, columns: Sequence[str] | None = None) -> Any:
    """Return the table in `path` as an awkward array, or those of its `columns`.

    Raises:
        BadInput: The file is no table of predictions.
    """
    import awkward

    about(path)
    return awkward.from_parquet(path, columns=list(columns) if columns is not None else None)
