"""Whether events that a model is tested on are among those that it was trained on.

Events are compared by what they are: the content of their files and their place there, or the
numbers that their experiment gives them. Axes: E events.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Mask
from pipeline.data.identity import OF_FILE
from pipeline.data.splits import are_in
from pipeline.data.store.manifest import Manifest, SourceRecord
from pipeline.data.store.opened import Shard, Store
from pipeline.records import Overlap, Record

ADVICE = (
    "List each file in one of them, or deal both by the same fractions; or write allow_overlap = "
    "true in the campaign, whose page will then say so."
)


class EventSet(Record):
    """The events of one split of a store, by what tells them from other events.

    `task` is what was trained on them. Of `files` it has those with events of the split; the other
    fields are those of the store's manifest.
    """

    task: str
    store: Path
    split: str
    fractions: dict[str, float]
    event_key: str
    numbered_by: str
    files: tuple[SourceRecord, ...]

    @property
    def numbering(self) -> tuple[str, str]:
        """By what an event has its id; ids of two numberings cannot be compared."""
        return (OF_FILE, "") if self.event_key == OF_FILE else (self.event_key, self.numbered_by)


def event_set(manifest: Manifest, store: Path, split: str, task: str = "") -> EventSet:
    """Return the events of `split` of the `store` with this manifest."""
    return EventSet(
        task=task,
        store=store,
        split=split,
        fractions=manifest.fractions,
        event_key=manifest.event_key,
        numbered_by=manifest.numbered_by,
        files=tuple(each for each in manifest.source_files if each.split in ("", split)),
    )


def disjoint(
    one: Mapping[str, float], split: str, other: Mapping[str, float], other_split: str
) -> bool:
    """Return whether no event can be in both splits, dealt by these fractions; {} deals nothing.

    Equal fractions deal each event alike, and other ones may leave a gap between two splits.
    """
    if not one or not other:
        return False
    (low, high), (low_too, high_too) = interval(one, split), interval(other, other_split)
    return high <= low_too or high_too <= low


def interval(fractions: Mapping[str, float], split: str) -> tuple[float, float]:
    """Return where in [0, 1] the hash of an event lies that falls into `split`."""
    index = list(fractions).index(split)
    limits = [0.0, *np.cumsum(list(fractions.values())).tolist()[:-1], 1.0]
    return limits[index], limits[index + 1]


def overlap(trained: EventSet, store: Store, split: str) -> Overlap | None:
    """Return which events of `split` of `store` are among those `trained` on, None if none are.

    Events that the store of the training has left out count as trained on. Where the experiment
    numbers its events that store is looked at; if it is not there any more, the ranges of the
    numbers in its files bound the overlap. So they do for a file that the two stores name the
    events of in different ways: all of them count.
    """
    compared = Compared(trained, store, split)
    counts = compared.counts()
    if not counts:
        return None
    return Overlap(
        task=trained.task,
        trained_store=str(trained.store),
        trained_split=trained.split,
        store=str(store.path),
        split=split,
        events=sum(counts.values()),
        of=store.events(split),
        files=tuple(counts),
        exact=compared.is_exact,
    )


@dataclass(frozen=True)
class Compared:
    """The events of `split` of `store` beside those that were `trained` on."""

    trained: EventSet
    store: Store
    split: str

    @cached_property
    def tested(self) -> EventSet:
        """The events of the store."""
        return event_set(self.store.manifest, self.store.path, self.split)

    @property
    def by_same_names(self) -> bool:
        """Whether the same event has the same id in both."""
        return self.trained.numbering == self.tested.numbering

    @property
    def by_numbers(self) -> bool:
        """Whether the experiment numbers the events of both."""
        return self.by_same_names and self.trained.event_key != OF_FILE

    @property
    def is_exact(self) -> bool:
        """Whether the overlap is known event by event."""
        return self.by_same_names and not (self.by_numbers and self.ids is None)

    def counts(self) -> dict[str, int]:
        """Return how many events of each file of the store were trained on, of those with any."""
        trained, tested = self.trained, self.tested
        if self.by_same_names and disjoint(
            trained.fractions, trained.split, tested.fractions, self.split
        ):
            return {}
        counts: dict[str, int] = {}
        for shard, file in self._shards():
            seen = int(np.count_nonzero(self._seen(shard)))
            if seen:
                counts[file.path] = counts.get(file.path, 0) + seen
        return counts

    def _shards(self) -> Iterator[tuple[Shard, SourceRecord]]:
        """Yield the shards of the files that may hold events that were trained on."""
        near = [each for each in self.tested.files if self._may_share(each)]
        files = self.store.manifest.source_files
        for shard in self.store.shards(self.split) if near else ():
            if files[shard.record.file] in near:
                yield shard, files[shard.record.file]

    def _may_share(self, file: SourceRecord) -> bool:
        """Return whether `file`, or one whose numbers lie in the same range, was trained on."""
        if not self.by_numbers:
            return file.sha256 in self._contents
        return any(_meet(file.keys, other.keys) for other in self.trained.files)

    @cached_property
    def _contents(self) -> frozenset[str]:
        return frozenset(each.sha256 for each in self.trained.files)

    @cached_property
    def ids(self) -> Array | None:
        """The ids (E) of the events trained on, None if their store is not there any more."""
        trained = self.trained
        try:
            store = Store.open(trained.store)
            if event_set(store.manifest, store.path, trained.split, trained.task) != trained:
                return None
            shards = [each.read(("event_id",))["event_id"] for each in store.shards(trained.split)]
        except BadInput:
            return None
        return np.unique(np.concatenate(shards))

    def _seen(self, shard: Shard) -> Mask:
        """Return which events (E) of `shard` were trained on, as far as is known."""
        trained, event_id = self.trained, shard.read(("event_id",))["event_id"]
        if not self.by_same_names:
            return np.ones(len(event_id), np.bool_)
        if self.by_numbers and self.ids is not None:
            return np.isin(event_id, self.ids)
        seen = np.ones(len(event_id), np.bool_)
        if trained.fractions:
            seen = are_in(trained.split, event_id, trained.fractions)
        return seen & self._within(shard) if self.by_numbers else seen

    def _within(self, shard: Shard) -> Mask:
        """Return which events (E) of `shard` have numbers in the range of a file trained on."""
        numbers = shard.read((self.trained.event_key,))[self.trained.event_key]
        last = numbers.reshape(len(numbers), -1)[:, -1]
        ranges = [each.keys for each in self.trained.files if each.keys is not None]
        within: Mask = np.any([(low <= last) & (last <= high) for low, high in ranges], axis=0)
        return within


def _meet(one: tuple[int, int] | None, other: tuple[int, int] | None) -> bool:
    return one is not None and other is not None and one[0] <= other[1] and other[0] <= one[1]
