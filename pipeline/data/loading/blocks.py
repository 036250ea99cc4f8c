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


class Blocks(Protocol):
    """Gives the taken events of blocks, one block after another."""

    def read(self, blocks: Integers) -> Packed:
        """Return the taken events of `blocks`, in their order in the store."""
        ...


class Stored:
    """Blocks of a store, decoded whenever they are asked for."""

    def __init__(self, index: Index, names: tuple[str, ...]) -> None:
        self.index, self.names = index, names
        self._open: OrderedDict[int, dict[str, Any]] = OrderedDict()

    def read(self, blocks: Integers) -> Packed:
        """Return the taken events of `blocks`.

        Raises:
            BadInput: A shard is damaged; the message names it.
        """
        return joined([self._block(int(block)) for block in blocks])

    def _block(self, block: int) -> Packed:
        index = self.index
        number = int(index.shard[block])
        start, stop = int(index.start[block]), int(index.stop[block])
        shard, arrays = index.shards[number], self._arrays(number)
        offsets = arrays["offsets"][start : stop + 1]
        packed = Packed(
            offsets=offsets - offsets[0],
            event_id=arrays["event_id"][start:stop],
            per_point={
                name: _part(shard, arrays, name, int(offsets[0]), int(offsets[-1]))
                for name in self.names
                if shard.record.arrays[name].per == "point"
            },
            per_event={
                name: _part(shard, arrays, name, start, stop)
                for name in self.names
                if shard.record.arrays[name].per == "event"
            },
        )
        if index.takes_all:
            return packed
        return packed.take(np.flatnonzero(index.chosen(packed.event_id)))

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


def _part(shard: Shard, arrays: dict[str, Any], name: str, start: int, stop: int) -> Array:
    """Return the rows `start` to `stop` of an open array.

    Raises:
        BadInput: It is damaged there.
    """
    try:
        found: Array = arrays[name].read(start, stop)
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(shard.damage(name, error)) from error
    return found


class Held:
    """Blocks of a store, decoded once and kept in memory."""

    def __init__(self, index: Index, names: tuple[str, ...]) -> None:
        self.packed = Stored(index, names).read(np.arange(len(index)))
        self.begins = offsets_of(index.events)

    def read(self, blocks: Integers) -> Packed:
        """Return the taken events of `blocks`; one block is not copied."""
        parts = [
            self.packed.slice(int(self.begins[block]), int(self.begins[block + 1]))
            for block in blocks
        ]
        return joined(parts)


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
