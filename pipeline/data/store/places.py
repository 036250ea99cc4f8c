"""From an event's id back to its source file, its place there, and its place in the store."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Events, Integers
from pipeline.data.identity import MASK, OF_FILE, base_of, numbers_from
from pipeline.data.splits import split_of
from pipeline.data.store.manifest import SourceRecord
from pipeline.data.store.opened import Shard, Store
from pipeline.masking import masked

ROW = "row"  # stored where an event's id does not tell its place in the file


@dataclass(frozen=True)
class EventPlace:
    """Where one event comes from and where it is.

    `row` is its place in `file`, from 0. `shard` is empty, and `index`, its place there, None for
    an event that was rejected when the file was staged; `split` is where it would be.
    """

    event_id: int
    file: SourceRecord
    row: int
    split: str
    shard: str
    index: int | None


def places(store: Store, event_id: int) -> list[EventPlace]:
    """Return where the event `event_id` of `store` comes from: one place, but by a rare chance.

    Raises:
        BadInput: No source file of the store has an event of this id, or it is no id.
    """
    if not 0 <= event_id <= int(MASK):
        message = f"{store.path}: {event_id} is no event id; they lie from 0 to 2^63 - 1."
        raise BadInput(message)
    by_row = store.manifest.event_key == OF_FILE
    search = _by_row if by_row else _by_number
    found = list(search(store, np.array([event_id])))
    if not found:
        message = (
            f"{store.path}: no event {event_id} here. Ids are those of the array event_id, and "
            f"`cosmotron data sources {store.path}` lists those of each file."
        )
        raise BadInput(message)
    return found


def _by_row(store: Store, event_id: Integers) -> Iterator[EventPlace]:
    """Yield the places of an event whose id says its file and row."""
    for number, file in enumerate(store.manifest.source_files):
        row = int(numbers_from(base_of(file.sha256), event_id)[0])
        if row >= file.entries:
            continue
        splits = list(store.manifest.fractions)
        split = file.split or splits[int(split_of(event_id, store.manifest.fractions)[0])]
        shard, index = next(_stored(store, number, event_id), (None, None))
        name = shard.record.name if shard is not None else ""
        yield EventPlace(int(event_id[0]), file, row, split, name, index)


def _by_number(store: Store, event_id: Integers) -> Iterator[EventPlace]:
    """Yield the places of an event that the experiment has numbered."""
    for number, file in enumerate(store.manifest.source_files):
        for shard, index in _stored(store, number, event_id):
            row = int(shard.read((ROW,))[ROW][index])
            found = (shard.record.split, shard.record.name, index)
            yield EventPlace(int(event_id[0]), file, row, *found)


def _stored(store: Store, file: int, event_id: Integers) -> Iterator[tuple[Shard, int]]:
    """Yield the shards of source `file` that hold the event, with its place in each."""
    for split in store.splits:
        for shard in store.shards(split):
            if shard.record.file == file:
                ids = shard.read(("event_id",))["event_id"]
                yield from ((shard, int(index)) for index in np.flatnonzero(ids == event_id))


class Origins:
    """The source file, and the entry in it, of the events of a split, by their place in the split.

    An event is read in the order of the store: the shards one after another.
    """

    def __init__(self, store: Store, split: str) -> None:
        shards = store.shards(split)
        self._sources = store.manifest.source_files
        self._file = np.array([shard.record.file for shard in shards], np.int64)
        self._ends = np.cumsum([shard.record.events for shard in shards])
        self._by_row = store.manifest.event_key == OF_FILE

    def of(self, start: int, events: Events) -> tuple[list[str], Integers]:
        """Return the file and the entry (E) of `events`, the first of which is number `start`.

        Events that their experiment numbers have the entry in their array `row`. Where the store
        names no files, they are "" and -1.
        """
        entry = np.full(len(events), -1, np.int64)
        index = np.arange(start, start + len(events))
        file = self._file[np.searchsorted(self._ends, index, side="right")]
        if file.max(initial=-1) >= len(self._sources):
            return [""] * len(events), entry
        names = [self._sources[number].path for number in file]
        if not self._by_row:
            return names, events.per_event[ROW].astype(np.int64)
        for number in np.unique(file):
            here = file == number
            base = base_of(self._sources[number].sha256)
            entry[here] = numbers_from(base, events.event_id[here])
        return names, entry


def source_table(store: Store) -> list[dict[str, Any]]:
    """Return a row for each source file: its number, name, content, events and first id.

    The first id is None where the experiment numbers its events.
    """
    by_row = store.manifest.event_key == OF_FILE
    staged: dict[int, int] = {}
    for shard in store.manifest.shards:
        staged[shard.file] = staged.get(shard.file, 0) + shard.events
    return [
        {
            "file": number,
            "split": each.split or "by fractions",
            "entries": each.entries,
            "staged": staged.get(number, 0),
            "bytes": each.bytes,
            "sha256": each.sha256,
            "verified by": each.verified_by or "nothing",
            "first event_id": base_of(each.sha256) if by_row else None,
            "path": masked(each.path),
        }
        for number, each in enumerate(store.manifest.source_files)
    ]
