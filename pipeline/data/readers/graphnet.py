"""What GraphNeT's files have in common: which of their tables is which, and events from both.

Axes: E events, P points (pulses) of all events.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Integers, offsets_of
from pipeline.data.experiments.graphnet import TRUTH_TABLES, Layout, Names
from pipeline.data.readers.exact import exact, rounded

LATEST_NS = 2.0**24


@dataclass(frozen=True)
class Chosen:
    """The tables to read, `truth` being empty where there is none, and their columns by our names.

    Names of `reals` and `integers` are columns of `pulses`, those of `labels` of `truth`.
    """

    pulses: str
    truth: str
    reals: dict[str, str]
    integers: dict[str, str]
    labels: dict[str, str]


def chosen(
    path: Path, layout: Layout, tables: Mapping[str, Iterable[str]], pulses: str = ""
) -> Chosen:
    """Return what to read of `tables`, which are given with the names of their columns.

    `pulses` names the table of pulses; without a name there must be one that has them.

    Raises:
        BadInput: No table, or more than one, has the pulses of `layout`.
    """
    columns = {table: frozenset(names) for table, names in tables.items()}
    maps = [
        each
        for each, names in columns.items()
        if len(_there(layout.pulses, names)) == len(layout.pulses)
    ]
    if pulses not in maps and (pulses or len(maps) != 1):
        raise BadInput(_refusal(path, layout, list(columns), maps, pulses))
    pulses = pulses or maps[0]
    truth = next((each for each in TRUTH_TABLES if each in columns), "")
    integers = {name: each for name, (each, _) in layout.integers.items()}
    return Chosen(
        pulses,
        truth,
        reals=_there(layout.pulses, columns[pulses]),
        integers=_there(integers, columns[pulses]),
        labels=_there(layout.truth, columns.get(truth, frozenset())),
    )


def _refusal(path: Path, layout: Layout, tables: list[str], maps: list[str], asked: str) -> str:
    """Return why no table of pulses is chosen of `tables`, of which `maps` hold pulses."""
    advice = f"Expected one, as in {layout.what}."
    if maps:
        advice = (
            f"Choose one: reader = {{ pulses = {maps[0]!r} }} in the dataset, or --reader "
            f"pulses={maps[0]}."
        )
    if asked:
        there = ", ".join(maps) or "none"
        return f"{path}: table {asked!r} holds no pulses; tables that do: {there}. {advice}"
    found = f"several tables of pulses: {', '.join(maps)}"
    nothing = f"no table of pulses among {', '.join(tables) or 'none'}"
    return f"{path}: {found if maps else nothing}. {advice}"


def _there(wanted: Mapping[str, Names], names: frozenset[str]) -> dict[str, str]:
    """Return which of `names` are those `wanted`."""
    found = {
        ours: next((each for each in some if each in names), "") for ours, some in wanted.items()
    }
    return {ours: name for ours, name in found.items() if name}


def assembled(
    path: Path,
    layout: Layout,
    *,
    start: int,
    sizes: Integers,
    pulses: Mapping[str, Array],
    truth: Mapping[str, Array],
    event_no: Integers | None,
) -> Events:
    """Return the events (E) from index `start` on, of `sizes` (E) pulses (P) each.

    Raises:
        BadInput: A value does not fit its type, or a time is too late.
    """
    columns = {name: rounded(path, name, pulses[name]) for name in layout.pulses}
    late = np.abs(columns["time"]) >= LATEST_NS
    if late.any():
        message = (
            f"{path}: a time of {columns['time'][np.argmax(late)]:.0f} ns; beyond 2^24 float32 "
            "loses nanoseconds. Make the file with times relative to the event."
        )
        raise BadInput(message)
    offsets = offsets_of(sizes)
    per_event: dict[str, Array] = {"pulses": exact(path, "pulses", np.asarray(sizes), np.int32)}
    if event_no is not None:
        per_event["source_event_id"] = event_no
    if "charge" in columns:
        event = np.repeat(np.arange(len(sizes)), sizes)
        total = np.bincount(event, weights=columns["charge"], minlength=len(sizes))
        per_event["total_charge"] = total.astype(np.float32)
    return Events(
        source=str(path),
        columns=tuple(columns),
        points=np.column_stack(list(columns.values())),
        offsets=offsets,
        event_id=np.arange(start, start + len(sizes)),
        per_point={
            name: exact(path, name, pulses[name], np.dtype(kind).type)
            for name, (_, kind) in layout.integers.items()
            if name in pulses
        },
        per_event={**per_event, **{name: _label(path, name, truth[name]) for name in truth}},
    )


def _label(path: Path, name: str, values: Array) -> Array:
    """Return numbers of the whole event; where unknown (NaN), a number stays so and a pid is 0."""
    if name != "pid":
        return values.astype(np.float64)
    known = np.where(np.isnan(values), 0, values) if values.dtype.kind == "f" else values
    return exact(path, name, known, np.int32)
