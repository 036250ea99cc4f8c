"""Read blocks of events: from the shards each time, or from a copy that fits into memory."""

from collections import OrderedDict
from typing import Any, Protocol

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Integers, offsets_of
from pipeline.data.loading.index import Index
from pipeline.data.loading.packed import Packed, joined
from pipeline.data.store import Shard
from pipeline.data.store.codec import ArrayFile

OPEN_SHARDS = 64
OWN = ("offsets", "event_id")
Range = tuple[Shard, dict[str, Any], int, int]


class Blocks(Protocol):
    """Gives the taken events of blocks, one block after another."""

    def read(self, blocks: Integers) -> tuple[Packed, Integers]:
        """Return events, and the places in them of the taken ones of `blocks`, in store order."""
        ...


class Stored:
    """Blocks of a store, decoded whenever they are asked for."""

    def __init__(self, index: Index, names: tuple[str, ...]) -> None:
        self.index, self.names = index, names
        self._open: OrderedDict[int, dict[str, Any]] = OrderedDict()

    def read(self, blocks: Integers) -> tuple[Packed, Integers]:
        """Return all events of `blocks`, and the places of the taken ones.

        Raises:
            BadInput: A shard is damaged; the message names it.
        """
        ranges = [self._range(int(block)) for block in blocks]
        offsets = [arrays["offsets"][start : stop + 1] for _, arrays, start, stop in ranges]
        packed = Packed(
            offsets=offsets_of(np.concatenate([np.diff(each) for each in offsets])),
            event_id=np.concatenate([arrays["event_id"][a:b] for _, arrays, a, b in ranges]),
            per_point={},
            per_event={},
        )
        rows = [
            (shard, arrays, int(each[0]), int(each[-1]))
            for (shard, arrays, *_), each in zip(ranges, offsets, strict=True)
        ]
        for name in self.names:
            if ranges[0][0].record.arrays[name].per == "point":
                packed.per_point[name] = _decoded(name, rows)
            else:
                packed.per_event[name] = _decoded(name, ranges)
        return packed, np.flatnonzero(self.index.chosen(packed.event_id))

    def _range(self, block: int) -> Range:
        """Return where the events of `block` are: shard, its open arrays, start and stop."""
        number = int(self.index.shard[block])
        place = int(self.index.start[block]), int(self.index.stop[block])
        return self.index.shards[number], self._arrays(number), *place

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


def _decoded(name: str, ranges: list[Range]) -> Array:
    """Return the rows of array `name` in `ranges`, one after another.

    Raises:
        BadInput: It is damaged there.
    """
    file: ArrayFile = ranges[0][1][name]
    rows = sum(stop - start for *_, start, stop in ranges)
    found = np.empty((rows, *file.shape[1:]), file.dtype)
    row = 0
    for shard, arrays, start, stop in ranges:
        try:
            arrays[name].fill(found[row : row + stop - start], start)
        except (OSError, ValueError, RuntimeError) as error:
            raise BadInput(shard.damage(name, error)) from error
        row += stop - start
    return found


class Held:
    """Blocks of a store, decoded once and kept in memory."""

    def __init__(self, index: Index, names: tuple[str, ...]) -> None:
        stored = Stored(index, names)
        parts = (stored.read(np.array([block])) for block in range(len(index)))
        self.packed = joined([packed.take(taken) for packed, taken in parts])
        self.begins = offsets_of(index.events)

    def read(self, blocks: Integers) -> tuple[Packed, Integers]:
        """Return all events that are held, and the places of the taken ones of `blocks`."""
        places = [np.arange(self.begins[each], self.begins[each + 1]) for each in blocks]
        return self.packed, np.concatenate(places)


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
