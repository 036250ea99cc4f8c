"""The events that one program reads of a store, checked when the store is opened."""

import sys
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Rows
from pipeline.data.jet_inputs import ARRAYS, JET_ARRAY, made_of
from pipeline.data.loading.loader import Loader, Reading
from pipeline.data.store import Store
from pipeline.data.store.content import DERIVED, TRACK
from pipeline.data.store.tokens import check_codes
from pipeline.families import Reads

ALL_BLOCKS = sys.maxsize


@dataclass(frozen=True)
class Selection:
    """`events` events (all, if None) of a split of the store in `path`, with the arrays `reads`.

    Which ones follows from the seed `subset` alone; fewer are among those of any larger number.
    """

    path: Path
    split: str
    reads: Reads
    events: int | None = None
    subset: int = 0

    def open(self) -> Store:
        """Return the store, after a check that it has all that is read.

        Raises:
            BadInput: There is no such store or split, it is of another experiment, it has too few
                events or neighbours, its events have more or fewer points than the model takes, or
                its tokens are of another vocabulary.
        """
        store = Store.open(self.path)
        stored = store.events(self.split)
        if self.events is not None and not 0 < self.events <= stored:
            message = (
                f"{store.path}: {self.events} events requested of split {self.split!r}, which has "
                f"{stored}."
            )
            raise BadInput(message)
        if self.reads.codes:
            check_codes(store, self.reads.codes)
        _check_columns(store, self.reads)
        _check_arrays(store, self.split, self.reads)
        _check_sizes(store, self.split, self.reads)
        return store

    @property
    def count(self) -> int:
        """The number of events."""
        return self.events or Store.open(self.path).events(self.split)

    def load(self) -> Events:
        """Return all events in memory, in the order of the store.

        Raises:
            BadInput: There is no such store or split, or it lacks something that is read.
        """
        self.open()
        (events,) = self._loader(self.count, ALL_BLOCKS)
        return events

    def stream(self, events: int, *, after: int = 0) -> Generator[Events]:
        """Yield the events in the order of the store, `events` at a time, `after` so many times.

        No more than some blocks of the store are in memory. `open` has checked the store before.
        """
        loader = self._loader(events, 1)
        loader.seek(after)
        yield from loader

    def _loader(self, events: int, window_blocks: int) -> Loader:
        """Return what gives `events` events at a time, and decodes `window_blocks` blocks at once.

        Each event is read once, so nothing is kept in memory.
        """
        store = Store.open(self.path)
        reading = Reading(
            arrays=arrays_of(self.reads, store, self.split),
            lane_events=events,
            events=self.events,
            subset=self.subset,
            shuffle=False,
            epochs=1,
            window_blocks=window_blocks,
            memory_bytes=0,
        )
        return Loader(store, self.split, reading)

    def with_optional(self, names: tuple[str, ...]) -> "Selection":
        """Return the selection with those arrays of `names` too that the store has."""
        stored = Store.open(self.path).shards(self.split)[0].record.arrays
        per_point = [name for name in names if name in stored and stored[name].per == "point"]
        per_event = [name for name in names if name in stored and stored[name].per == "event"]
        reads = replace(
            self.reads,
            per_point=tuple(dict.fromkeys((*self.reads.per_point, *per_point))),
            per_event=tuple(dict.fromkeys((*self.reads.per_event, *per_event))),
        )
        return replace(self, reads=reads)


def arrays_of(reads: Reads, store: Store, split: str) -> tuple[str, ...]:
    """Return the names of the stored arrays, beside the points, that `reads` takes of `split`."""
    per_point = [stored for name in reads.per_point for stored in DERIVED.get(name, (name,))]
    neighbours = ["neighbours"] * bool(reads.neighbours)
    of_columns = _of_columns(reads, store, split) if reads.physical else []
    return tuple(dict.fromkeys([*neighbours, *of_columns, *per_point, *reads.per_event]))


def _of_columns(reads: Reads, store: Store, split: str) -> list[str]:
    """Return the names of the arrays of which the columns that are read are made.

    The jet's own momentum is among them only where the store has it.
    """
    columns = [column.name for column in store.manifest.columns]
    first = store.shards(split)[0].record.arrays
    arrays = [*ARRAYS, *(name for name in (JET_ARRAY,) if name in first)]
    needed = [made_of(name, (*columns, *arrays)) or () for name in reads.columns]
    return [name for names in needed for name in sorted(names) if name not in columns]


def point_array(stored: Rows, name: str) -> Array:
    """Return the array `name` of the points, (P, …), from those `stored`.

    `track` is made of others: the track of each point, 0 for noise, which is on no track whatever
    tag the experiment gives it.
    """
    if name != TRACK:
        return stored[name]
    tracks: Array = np.where(stored["noise"], 0, stored["track_id"]).astype(np.int64)
    return tracks


def _check_columns(store: Store, reads: Reads) -> None:
    """Refuse a store without the columns that are read.

    Raises:
        BadInput: A column is missing: the store is of another experiment.
    """
    stored = [column.name for column in store.manifest.columns]
    missing = [name for name in reads.columns if name not in stored]
    if reads.physical:
        missing = [name for name in missing if made_of(name, (*stored, *ARRAYS)) is None]
    if missing:
        message = (
            f"{store.path}: a store of experiment {store.manifest.experiment!r} with columns "
            f"{', '.join(stored)}; this model reads {', '.join(reads.columns)}. Give it another "
            "dataset, or another model."
        )
        raise BadInput(message)


def _check_arrays(store: Store, split: str, reads: Reads) -> None:
    """Refuse a split with a shard that lacks an array that is read.

    Raises:
        BadInput: An array is missing.
    """
    names = [name for name in arrays_of(reads, store, split) if name != "neighbours"]
    for shard in store.shards(split):
        stored = shard.record.arrays
        missing = [name for name in names if name not in stored]
        if missing:
            message = (
                f"{shard.path}: split {split!r} has no {', '.join(missing)}; it has "
                f"{', '.join(sorted(stored))}. Was it staged from files without truth?"
            )
            raise BadInput(message)


def _check_sizes(store: Store, split: str, reads: Reads) -> None:
    """Refuse a split whose events do not fit the model.

    Raises:
        BadInput: The store or every event has fewer neighbours than are predicted, or an event has
            fewer or more points than the model takes.
    """
    staged = store.manifest.neighbours
    if reads.neighbours > staged:
        message = (
            f"{store.path}: {reads.neighbours} next neighbours requested, {staged} staged. "
            "Stage again with more neighbours, or set fewer for the model."
        )
        raise BadInput(message)
    low, high = reads.least_points, reads.most_points or store.manifest.max_points
    within = store.manifest.min_points >= low and store.manifest.max_points <= high
    if within and not reads.neighbours:
        return
    least, most = _extreme_sizes(store, split)
    if reads.neighbours >= most:
        message = (
            f"{store.path}: {reads.neighbours} next neighbours requested, and no event of split "
            f"{split!r} has more than {most} points. Set fewer than {most} for the model."
        )
        raise BadInput(message)
    if least < low:
        message = (
            f"{store.path}: an event of split {split!r} has {least} points; this model takes "
            f"{low} or more. Stage again with min_points = {low}, or give the model smaller "
            "patches."
        )
        raise BadInput(message)
    if most > high:
        message = (
            f"{store.path}: an event of split {split!r} has {most} points; this model takes "
            f"{high}. Stage again with max_points = {high}, or give it another model."
        )
        raise BadInput(message)


def _extreme_sizes(store: Store, split: str) -> tuple[int, int]:
    """Return the numbers of points of the smallest and of the largest event of `split`."""
    offsets = (shard.read(("offsets",))["offsets"] for shard in store.shards(split))
    sizes = np.concatenate([np.diff(each) for each in offsets])
    return int(sizes.min()), int(sizes.max())
