"""One staging part of a source file: read, prepared, dealt to splits, and written as shards.

The shards depend on the file's content and the settings alone, so any number of workers may make
the parts in any order. Axes: E events, P points, k neighbours.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, concatenate
from pipeline.data.experiment import Entries
from pipeline.data.identity import OF_FILE, Identity
from pipeline.data.preparation.finite import check_finite
from pipeline.data.preparation.serialise import Preparation, serialise, usable
from pipeline.data.splits import split_of
from pipeline.data.store.manifest import SCHEMA, ShardRecord
from pipeline.data.store.places import ROW
from pipeline.data.store.shard import write_shard

RESERVED = frozenset({"points", "offsets", "event_id", "neighbours"})


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


class Place(NamedTuple):
    """The entries `start` to `stop` of source `file`, as its staging part `part`.

    `split` is where the file's events go, empty where they are dealt one by one.
    """

    split: str
    file: int
    part: int
    start: int
    stop: int


class MadePart(NamedTuple):
    """The records of the shards, the rejected events by reason, and the range of the keys."""

    shards: tuple[ShardRecord, ...]
    rejected: dict[str, int]
    keys: tuple[int, int] | None


def make_part(layout: Layout, entries: Entries, identity: Identity, place: Place) -> MadePart:
    """Write the entries at `place` as shards; return what was made."""
    prepared, rejected = prepared_range(layout.preparation, entries, place.start, place.stop)
    event_id = identity.ids(prepared.events)
    keys = identity.range(prepared.events)
    if identity.key != OF_FILE:
        prepared = with_rows(prepared)
    name = f"{place.file:05d}-{place.part:03d}"
    shards = tuple(
        _write(layout, layout.store / name_of_split / name, each, event_id[chosen])
        for name_of_split, chosen, each in _dealt(prepared, event_id, place.split, layout.fractions)
        if len(each.events)
    )
    return MadePart(shards, rejected, keys)


def with_rows(prepared: Prepared) -> Prepared:
    """Return `prepared` with the place of each event in its file, which its id does not say.

    Raises:
        BadInput: The source has an array of this name.
    """
    events = prepared.events
    if ROW in events.per_event:
        raise BadInput(_taken(events.source, ROW))
    per_event = {**events.per_event, ROW: events.event_id}
    return replace(prepared, events=replace(events, per_event=per_event, verified=True))


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
        "schema": SCHEMA,
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
        raise BadInput(_taken(events.source, names))
    arrays: dict[str, Array] = {
        "points": events.points,
        "offsets": events.offsets,
        "event_id": event_id,
    }
    if prepared.neighbours.shape[1]:
        arrays["neighbours"] = prepared.neighbours
    return {**arrays, **events.per_point, **events.per_event}


def _taken(source: str, names: str) -> str:
    return f"{source}: array {names}: the store uses this name itself. The reader must use another."
