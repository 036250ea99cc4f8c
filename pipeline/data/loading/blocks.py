"""Read blocks of events: from the shards each time, or from a copy that fits into memory."""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Integers, offsets_of
from pipeline.data.loading.index import Index
from pipeline.data.loading.packed import NOWHERE, Packed, scatter
from pipeline.data.store import Shard
from pipeline.data.store.codec import ArrayFile

OPEN_SHARDS = 64
OWN = ("offsets", "event_id")


@dataclass(frozen=True)
class Range:
    """The events `start` to `stop` of a shard, whose arrays are open; their rows are `offsets`."""

    shard: Shard
    arrays: dict[str, Any]
    start: int
    stop: int

    @property
    def offsets(self) -> Integers:
        """Where each event begins in the shard, and where the last one ends."""
        found: Integers = self.arrays["offsets"][self.start : self.stop + 1]
        return found


class Blocks(Protocol):
    """Gives the taken events of blocks."""

    def read(self, blocks: Integers, visited: Integers) -> Packed:
        """Return taken events of `blocks`: those that are `visited`, as counted in store order."""
        ...


class Stored:
    """Blocks of a store, decoded whenever they are asked for."""

    def __init__(self, index: Index, names: tuple[str, ...]) -> None:
        self.index, self.names = index, names
        self._open: OrderedDict[int, dict[str, Any]] = OrderedDict()

    def read(self, blocks: Integers, visited: Integers) -> Packed:
        """Return the `visited` events; each chunk goes where it belongs while it is in the cache.

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
        target = np.full(len(sizes), NOWHERE)
        target[events] = offsets[:-1]
        kinds = {name: ranges[0].shard.record.arrays[name].per for name in self.names}
        return Packed(
            offsets=offsets,
            event_id=event_id[events],
            per_point={
                name: _points(name, ranges, target, int(offsets[-1]))
                for name, per in kinds.items()
                if per == "point"
            },
            per_event={
                name: _events(name, ranges)[events] for name, per in kinds.items() if per == "event"
            },
        )

    def _range(self, block: int) -> Range:
        index = self.index
        number = int(index.shard[block])
        start, stop = int(index.start[block]), int(index.stop[block])
        return Range(index.shards[number], self._arrays(number), start, stop)

    def _arrays(self, number: int) -> dict[str, Any]:
        """Return the open arrays of shard `number`, the small ones read."""
        if number not in self._open:
            shard = self.index.shards[number]
            small = shard.read(OWN)
            files = {name: ArrayFile.open(shard.path / name) for name in self.names}
            self._open[number] = {**small, **files}
            if len(self._open) > OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]


@contextlib.contextmanager
def _whole(shard: Shard, name: str) -> Iterator[None]:
    """Turn what reading a damaged array raises into one message.

    Raises:
        BadInput: The array `name` of `shard` is damaged.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(shard.damage(name, error)) from error


def _events(name: str, ranges: list[Range]) -> Array:
    """Return the array `name`, with a row for each event of `ranges`."""
    parts = []
    for each in ranges:
        with _whole(each.shard, name):
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
        with _whole(each.shard, name):
            for first, chunk in each.arrays[name].chunks(int(offsets[0]), int(offsets[-1])):
                scatter(chunk, first, offsets, begins, found)
    return found


class Held:
    """Blocks of a store, decoded once and kept in memory."""

    def __init__(self, index: Index, names: tuple[str, ...]) -> None:
        blocks, taken = np.arange(len(index)), np.arange(int(index.events.sum()))
        self.packed = Stored(index, names).read(blocks, taken)
        self.begins = offsets_of(index.events)

    def read(self, blocks: Integers, visited: Integers) -> Packed:
        """Return the `visited` events."""
        places = [np.arange(self.begins[each], self.begins[each + 1]) for each in blocks]
        return self.packed.take(np.concatenate(places)[visited])


def held_bytes(index: Index, names: tuple[str, ...]) -> int:
    """Return the bytes that the taken events of `index` need in memory, about."""
    total = 0.0
    for number, shard in enumerate(index.shards):
        mine = index.shard == number
        share = index.events[mine].sum() / max(shard.record.events, 1)
        total += share * sum(_bytes(shard, name) for name in (*names, *OWN))
    return int(total)


def _bytes(shard: Shard, name: str) -> int:
    record = shard.record.arrays[name]
    rows = shard.record.points if record.per == "point" else shard.record.events
    return rows * max(record.width, 1) * np.dtype(record.dtype).itemsize
