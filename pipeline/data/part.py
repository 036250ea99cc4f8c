"""One staging part of a source file: read, prepared, dealt to splits, and written as shards.

The shards depend on the file's content and the settings alone, so any number of workers may make
the parts in any order. Axes: E events, P points, k neighbours.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, concatenate
from pipeline.data.experiment import Entries
from pipeline.data.preparation.finite import check_finite
from pipeline.data.preparation.serialise import Preparation, serialise, usable
from pipeline.data.splits import split_of
from pipeline.data.store.manifest import ShardRecord
from pipeline.data.store.shard import write_shard

RESERVED = frozenset({"points", "offsets", "event_id", "neighbours"})
FILE_BITS = 32


@dataclass(frozen=True)
class Layout:
    """Where and how shards are stored; `fractions` names the splits to deal events to."""

    store: Path
    preparation: Preparation
    fractions: Mapping[str, float]
    events_per_shard: int
    chunk_points: int
    codec: str


@dataclass(frozen=True)
class Prepared:
    """Events in the store's columns and order, and the neighbours (P, k) of their points."""

    events: Events
    neighbours: Array


def ranges(count: int, events_per_shard: int) -> list[tuple[int, int]]:
    """Return the entries, start to stop, of each staging part of a file with `count` entries."""
    starts = range(0, count, events_per_shard)
    return [(start, min(start + events_per_shard, count)) for start in starts]


def make_part(
    layout: Layout, entries: Entries, *, split: str, file: int, part: int, start: int, stop: int
) -> tuple[list[ShardRecord], dict[str, int]]:
    """Write the entries `start` to `stop` of source `file` as shards; return both records."""
    prepared, rejected = prepared_range(layout.preparation, entries, start, stop)
    event_id = (file << FILE_BITS) | prepared.events.event_id
    name = f"{file:05d}-{part:03d}"
    shards = [
        _write(layout, layout.store / name_of_split / name, each, event_id[chosen])
        for name_of_split, chosen, each in _dealt(prepared, event_id, split, layout.fractions)
        if len(each.events)
    ]
    return shards, rejected


def prepared_range(
    settings: Preparation, entries: Entries, start: int, stop: int
) -> tuple[Prepared, dict[str, int]]:
    """Return the prepared events of the entries `start` to `stop`, and what was rejected."""
    rejected: Counter[str] = Counter()
    blocks = list(_blocks(settings, entries, start, stop, rejected))
    events = concatenate([block.events for block in blocks])
    return Prepared(events, np.concatenate([block.neighbours for block in blocks])), dict(rejected)


def _blocks(
    settings: Preparation, entries: Entries, start: int, stop: int, rejected: Counter[str]
) -> Iterator[Prepared]:
    """Yield the prepared events of the entries in blocks; count what is `rejected`."""
    step = settings.experiment.block_events
    for first in range(start, stop, step):
        events, bad = entries.read(first, min(first + step, stop))
        events, unusable = usable(events, settings)
        rejected.update(bad)
        rejected.update(unusable)
        check_finite(events, settings.experiment.may_be_missing)
        events, neighbours = serialise(events, settings)
        check_finite(events, settings.experiment.may_be_missing)
        yield Prepared(events, neighbours.astype(index_type(settings.max_points)))


def _dealt(
    prepared: Prepared, event_id: Array, split: str, fractions: Mapping[str, float]
) -> Iterator[tuple[str, Array, Prepared]]:
    """Yield each split's name, the mask (E) of its events, and these events."""
    if not fractions:
        yield split, np.ones(len(event_id), np.bool_), prepared
        return
    index = split_of(event_id, fractions)
    for number, name in enumerate(fractions):
        chosen = index == number
        rows = np.repeat(chosen, prepared.events.sizes)
        yield name, chosen, Prepared(prepared.events.select(chosen), prepared.neighbours[rows])


def _write(layout: Layout, folder: Path, prepared: Prepared, event_id: Array) -> ShardRecord:
    """Write one shard."""
    experiment = layout.preparation.experiment
    attributes: dict[str, Any] = {
        "schema": "cosmotron-events/2",
        "experiment": experiment.name,
        "columns": [column.model_dump() for column in experiment.columns],
    }
    return write_shard(
        folder,
        arrays_of(prepared, event_id),
        per_event=frozenset(prepared.events.per_event) | {"event_id"},
        attributes=attributes,
        chunk_points=layout.chunk_points,
        codec=layout.codec,
    )


def index_type(max_points: int) -> type[np.int16] | type[np.int32]:
    """Return the integer type that indexes the points of an event with at most `max_points`."""
    return np.int16 if max_points <= np.iinfo(np.int16).max else np.int32


def arrays_of(prepared: Prepared, event_id: Array) -> dict[str, Array]:
    """Return the arrays of a shard.

    Raises:
        BadInput: The source has an array of a name that the store itself uses.
    """
    events = prepared.events
    taken = RESERVED & {*events.per_point, *events.per_event}
    if taken or set(events.per_point) & set(events.per_event):
        names = ", ".join(sorted(taken or set(events.per_point) & set(events.per_event)))
        message = (
            f"{events.source}: array {names}: the store uses this name itself. The reader must use "
            "another."
        )
        raise BadInput(message)
    arrays: dict[str, Array] = {
        "points": events.points,
        "offsets": events.offsets,
        "event_id": event_id,
    }
    if prepared.neighbours.shape[1]:
        arrays["neighbours"] = prepared.neighbours
    return {**arrays, **events.per_point, **events.per_event}
