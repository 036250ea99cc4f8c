"""Read blocks of events: from the shards each time, or from a copy in memory."""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Integers, offsets_of
from pipeline.data.loading.index import Index
from pipeline.data.loading.rows import SKIPPED, scatter, take
from pipeline.data.store import Shard
from pipeline.data.store.codec import ArrayFile

OPEN_SHARDS = 64
FRAME = ("offsets", "event_id")  # arrays of every shard, which are always read
POINTS = "points"


@dataclass(frozen=True)
class Range:
    """The events `start` to `stop` of a shard whose arrays are open."""

    shard: Shard
    arrays: dict[str, Any]
    start: int
    stop: int

    @property
    def offsets(self) -> Integers:
        """The first row of each event in the shard, and the end of the last one."""
        found: Integers = self.arrays["offsets"][self.start : self.stop + 1]
        return found


class Blocks(Protocol):
    """A source of the taken events of blocks."""

    def read(self, blocks: Integers, visited: Integers) -> Events:
        """Return the taken events of `blocks` at the positions `visited` in store order."""
        ...


class Stored:
    """Blocks of a store, decoded at each read, with the arrays `names`."""

    def __init__(self, index: Index, names: tuple[str, ...]) -> None:
        self.index, self.names = index, names
        self._open: OrderedDict[int, dict[str, Any]] = OrderedDict()

    def read(self, blocks: Integers, visited: Integers) -> Events:
        """Return the `visited` events; each chunk is copied to them while it is in the cache.

        Raises:
            BadInput: A shard is damaged; the message names it.
        """
        ranges = [self._range(int(block)) for block in blocks]
        event_id = np.concatenate(
            [each.arrays["event_id"][each.start : each.stop] for each in ranges]
        )
        sizes = np.concatenate([np.diff(each.offsets) for each in ranges])
        events = np.flatnonzero(self.index.chosen(event_id))[visited]
        offsets = offsets_of(sizes[events])
        target = np.full(len(sizes), SKIPPED)
        target[events] = offsets[:-1]
        kinds = {name: ranges[0].shard.record.arrays[name].per for name in self.names}
        rows = int(offsets[-1])
        return Events(
            source=self.index.source,
            columns=self.index.columns,
            points=_points(POINTS, ranges, target, rows),
            offsets=offsets,
            event_id=event_id[events],
            per_point={
                name: _points(name, ranges, target, rows)
                for name, per in kinds.items()
                if per == "point"
            },
            per_event={
                name: _events(name, ranges)[events] for name, per in kinds.items() if per == "event"
            },
            verified=True,
        )

    def _range(self, block: int) -> Range:
        index = self.index
        number = int(index.shard[block])
        start, stop = int(index.start[block]), int(index.stop[block])
        return Range(index.shards[number], self._arrays(number), start, stop)

    def _arrays(self, number: int) -> dict[str, Any]:
        """Return the arrays of shard `number`: the small ones read, the others open."""
        if number not in self._open:
            shard = self.index.shards[number]
            small = shard.read(FRAME)
            files = {name: ArrayFile.open(shard.path / name) for name in (POINTS, *self.names)}
            self._open[number] = {**small, **files}
            if len(self._open) > OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]


@contextlib.contextmanager
def _undamaged(shard: Shard, name: str) -> Iterator[None]:
    """Turn the errors of reading a damaged array into one message.

    Raises:
        BadInput: The array `name` of `shard` is damaged.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(shard.damage(name, error)) from error


def _events(name: str, ranges: list[Range]) -> Array:
    """Return the array `name`, with one row per event of `ranges`."""
    parts = []
    for each in ranges:
        with _undamaged(each.shard, name):
            parts.append(each.arrays[name].read(each.start, each.stop))
    return np.concatenate(parts)


def _points(name: str, ranges: list[Range], target: Integers, rows: int) -> Array:
    """Return the array `name`, (rows, …), the points of each event of `ranges` from `target` on."""
    file: ArrayFile = ranges[0].arrays[name]
    found = np.empty((rows, *file.shape[1:]), file.dtype)
    done = 0
    for each in ranges:
        offsets = each.offsets
        begins = target[done : done + len(offsets) - 1]
        done += len(begins)
        with _undamaged(each.shard, name):
            for first, chunk in each.arrays[name].chunks(int(offsets[0]), int(offsets[-1])):
                scatter(chunk, first, offsets, begins, found)
    return found


class InMemory:
    """Blocks of a store, decoded once and kept in memory; `by_id` (E) are the events by id.

    In that order they are shuffled: so the order of visits is not that of the files.
    """

    def __init__(self, index: Index, names: tuple[str, ...]) -> None:
        blocks, taken = np.arange(len(index)), np.arange(int(index.events.sum()))
        self.events = Stored(index, names).read(blocks, taken)
        self.begins = offsets_of(index.events)
        self.by_id = np.argsort(self.events.event_id, kind="stable")

    def read(self, blocks: Integers, visited: Integers) -> Events:
        """Return the `visited` events."""
        positions = [np.arange(self.begins[each], self.begins[each + 1]) for each in blocks]
        return take(self.events, np.concatenate(positions)[visited])


def bytes_in_memory(index: Index, names: tuple[str, ...]) -> int:
    """Return about how many bytes of memory the taken events of `index` need."""
    total = 0.0
    for number, shard in enumerate(index.shards):
        mine = index.shard == number
        share = index.events[mine].sum() / max(shard.record.events, 1)
        total += share * sum(_bytes(shard, name) for name in (POINTS, *names, *FRAME))
    return int(total)


def _bytes(shard: Shard, name: str) -> int:
    record = shard.record.arrays[name]
    rows = shard.record.points if record.per == "point" else shard.record.events
    return rows * max(record.width, 1) * np.dtype(record.dtype).itemsize
