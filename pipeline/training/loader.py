"""Packed batches of a Zarr store for one process of a training, and whole splits for evaluation.

Which events make which batch, and in which order, is the data room's business
(`pipeline.data.loading`): it depends on the task alone, so a resume at any world size goes on where
the last link stopped.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.campaign import Training, Validation
from pipeline.data.errors import BadInput
from pipeline.data.experiment import Column
from pipeline.data.jet_inputs import ARRAYS, columns_of, made_of
from pipeline.data.loading import Loader, Packed, Reading
from pipeline.data.store import Store
from pipeline.data.store.tokens import check_codes
from pipeline.downstream import AnyHead
from pipeline.families import Family, Reads
from pipeline.nn.batch import Batch, MicroBatch
from pipeline.nn.hidden import EVENT_FEATURES, FEATURES
from pipeline.training.steps.micro_batches import micro_batches

Tracks = NDArray[np.int64]
TRACK = "track"
# What is not stored under its own name: the arrays it is made of.
MADE_OF = {TRACK: ("track_id", "noise")}


def with_truth(model: Family, head: AnyHead, *, stored: bool = False) -> Reads:
    """Return what a downstream task reads: what its backbone does, and the truth.

    With `stored` in its place what the backbone made; of events too, where it has a token for them.
    """
    reads = model.reads_downstream()
    if stored:
        events = (EVENT_FEATURES,) if model.EVENT_TOKEN else ()
        reads = replace(
            reads, per_point=(*reads.per_point, FEATURES), per_event=(*reads.per_event, *events)
        )
    return replace(
        reads,
        per_point=tuple(dict.fromkeys((*reads.per_point, *head.PER_POINT))),
        per_event=tuple(dict.fromkeys((*reads.per_event, *head.per_event()))),
    )


def also(source: "Source", names: tuple[str, ...]) -> "Source":
    """Return `source` with those arrays of points and events too that its store has of `names`."""
    known = Store.open(source.path).shards(source.split)[0].record.arrays
    there = {
        kind: [name for name in names if name in known and known[name].per == kind]
        for kind in ("point", "event")
    }
    reads = replace(
        source.reads,
        per_point=tuple(dict.fromkeys((*source.reads.per_point, *there["point"]))),
        per_event=tuple(dict.fromkeys((*source.reads.per_event, *there["event"]))),
    )
    return replace(source, reads=reads)


def arrays_of(reads: Reads) -> tuple[str, ...]:
    """Return the names of the stored arrays that `reads` takes."""
    per_point = [each for name in reads.per_point for each in MADE_OF.get(name, (name,))]
    neighbours = ["neighbours"] * bool(reads.neighbours)
    names = reads.columns if reads.physical else ()
    of_columns = [each for name in names for each in made_of(name, ARRAYS) or ()]
    return tuple(dict.fromkeys(["points", *neighbours, *of_columns, *per_point, *reads.per_event]))


@dataclass(frozen=True)
class Source:
    """`events` events (all, if None) of a split of the store in `path`, and what is read of it."""

    path: Path
    split: str
    reads: Reads
    events: int | None = None

    def open(self) -> Store:
        """Return the store, in which what is read is there.

        Raises:
            BadInput: There is no such store or split, it is of another experiment, it holds too few
                events or neighbours, its events are shorter or longer than the model takes, or its
                tokens are of another vocabulary.
        """
        store = Store.open(self.path)
        held = store.events(self.split)
        if self.events is not None and not 0 < self.events <= held:
            message = (
                f"{store.path}: {self.events} events asked of split {self.split!r}, which holds "
                f"{held}."
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
        """The number of events that are trained on."""
        return self.events or Store.open(self.path).events(self.split)

    def batches(
        self, training: Training, seed: int, *, rank: int, ranks: int, seen: int
    ) -> Iterator[list[MicroBatch]]:
        """Yield one process's share of each batch, from where all have `seen` events on, for ever.

        Whoever asks has called `open`, which reads the sizes of all events: not a second time.
        """
        store = Store.open(self.path)
        reading = Reading(
            arrays=arrays_of(self.reads),
            lanes=training.lanes,
            lane_events=training.batch_events // training.lanes,
            events=self.events,
            seed=seed,
        )
        loader = Loader(store, self.split, reading, rank=rank, ranks=ranks)
        loader.seek(seen // training.batch_events)
        ranges, columns = micro_batches(training, rank, ranks), store.manifest.columns
        for packed in loader:
            yield [
                MicroBatch(batch_of(packed.slice(p.start, p.stop), columns, self.reads), p.weight)
                for p in ranges
            ]


def held_back(events: Source, asked: Validation | None) -> Source | None:
    """Return the events to validate on, read as those of the training; None if nobody asks.

    Raises:
        BadInput: The split is not there, holds too few events, or is the one that is trained on.
    """
    if asked is None:
        return None
    if asked.split == events.split:
        message = (
            f"{events.path}: the training is on split {asked.split!r}, and so is its validation. "
            "Name another split in [….validation]; fractions in the dataset make one."
        )
        raise BadInput(message)
    source = replace(events, split=asked.split, events=asked.events)
    source.open()
    return source


def takes_best(asked: Validation | None) -> bool:
    """Return whether the weights of the best checkpoint are to be the result."""
    return asked is not None and asked.weights == "best"


def _check_columns(store: Store, reads: Reads) -> None:
    """Refuse a store without the columns that are read.

    Raises:
        BadInput: One is not there: the store is of another experiment.
    """
    known = [column.name for column in store.manifest.columns]
    missing = [name for name in reads.columns if name not in known]
    if reads.physical:
        missing = [name for name in missing if made_of(name, (*known, *ARRAYS)) is None]
    if missing:
        message = (
            f"{store.path}: a store of experiment {store.manifest.experiment!r} with columns "
            f"{', '.join(known)}; this model reads {', '.join(reads.columns)}. Give it another "
            "dataset, or another model."
        )
        raise BadInput(message)


def _check_arrays(store: Store, split: str, reads: Reads) -> None:
    """Refuse a store that lacks an array that is read: the truth, where nobody stored it.

    Raises:
        BadInput: One is not there.
    """
    known = store.shards(split)[0].record.arrays
    missing = [name for name in arrays_of(reads) if name not in known and name != "neighbours"]
    if missing:
        message = (
            f"{store.path}: split {split!r} has no {', '.join(missing)}; it holds "
            f"{', '.join(sorted(known))}. Was it staged from files without truth?"
        )
        raise BadInput(message)


def _check_sizes(store: Store, split: str, reads: Reads) -> None:
    """Refuse a split whose events do not fit the model.

    Raises:
        BadInput: It has fewer neighbours than are predicted, in the store or in every event, or an
            event of fewer or more points than the model takes.
    """
    staged = store.manifest.neighbours
    if reads.neighbours > staged:
        message = (
            f"{store.path}: {reads.neighbours} next neighbours asked, {staged} staged. "
            "Stage again with more neighbours, or ask the model for fewer."
        )
        raise BadInput(message)
    limits = (reads.least_points, reads.most_points or store.manifest.max_points)
    if not reads.neighbours and _within(store, limits):
        return
    least, most = _extremes(store, split)
    if reads.neighbours >= most:
        message = (
            f"{store.path}: {reads.neighbours} next neighbours asked, and no event of split "
            f"{split!r} has more than {most} points. Ask the model for fewer than {most}."
        )
        raise BadInput(message)
    if least < limits[0]:
        message = (
            f"{store.path}: an event of split {split!r} has {least} points; this model takes "
            f"{limits[0]} or more. Stage again with min_points = {limits[0]}, or ask the model for "
            "smaller patches."
        )
        raise BadInput(message)
    if most > limits[1]:
        message = (
            f"{store.path}: an event of split {split!r} has {most} points; this model takes "
            f"{limits[1]}. Stage again with max_points = {limits[1]}, or give it another model."
        )
        raise BadInput(message)


def _within(store: Store, limits: tuple[int, int]) -> bool:
    """Return whether all events have so many points, by how they were staged."""
    return store.manifest.min_points >= limits[0] and store.manifest.max_points <= limits[1]


def _extremes(store: Store, split: str) -> tuple[int, int]:
    """Return the numbers of points of the smallest and of the largest event of `split`."""
    offsets = (shard.read(("offsets",))["offsets"] for shard in store.shards(split))
    sizes = np.concatenate([np.diff(each) for each in offsets])
    return int(sizes.min()), int(sizes.max())


def batch_of(packed: Packed, columns: tuple[Column, ...], reads: Reads) -> Batch:
    """Return `packed` as torch sees it: points normalised as `columns` say, and what is read."""
    stored = packed.per_point
    per_point = {name: _tensor(made(stored, name)) for name in reads.per_point}
    if reads.neighbours:
        per_point["neighbours"] = _tensor(stored["neighbours"][:, : reads.neighbours])
    return Batch(
        points=torch.from_numpy(_points(packed, columns, reads)),
        offsets=torch.from_numpy(packed.offsets),
        event_id=torch.from_numpy(packed.event_id.copy()),
        per_point=per_point,
        per_event={name: _tensor(packed.per_event[name]) for name in reads.per_event},
    )


def _points(packed: Packed, columns: tuple[Column, ...], reads: Reads) -> NDArray[np.float32]:
    """Return the columns that are read (P, F): normalised, or physical and perhaps made."""
    points, names = packed.per_point["points"], [column.name for column in columns]
    if reads.physical:
        there = dict(zip(names, points.T, strict=True))
        there |= {name: packed.per_point[name] for name in ARRAYS if name in packed.per_point}
        return columns_of(reads.columns, there, packed.offsets)
    chosen = [names.index(name) for name in reads.columns]
    if chosen != list(range(len(columns))):
        points = points[:, chosen]
    return normalised(points, tuple(columns[place] for place in chosen))


def made(stored: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """Return the array `name`, stored as it is or made of what is stored."""
    return _tracks(stored) if name == TRACK else stored[name]


def _tensor(values: NDArray[Any]) -> Tensor:
    """Return a copy of `values` as a tensor: integers as int64, real numbers as float32."""
    kind = {"i": np.int64, "u": np.int64, "f": np.float32}.get(values.dtype.kind, np.bool_)
    return torch.from_numpy(values.astype(kind))


def normalised(points: NDArray[np.float32], columns: tuple[Column, ...]) -> NDArray[np.float32]:
    """Return `points` (P, F), each column less its offset, over its scale."""
    scale, offset = _affine(columns)
    return ((points - offset) / scale).astype(np.float32)


def physical(points: NDArray[np.float32], columns: tuple[Column, ...]) -> NDArray[np.float32]:
    """Return normalised `points` (P, F) in the units of `columns`."""
    scale, offset = _affine(columns)
    return (points * scale + offset).astype(np.float32)


def _affine(columns: tuple[Column, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (scale, offset) of the columns of `points`."""
    return np.array([c.scale for c in columns]), np.array([c.offset for c in columns])


def _tracks(arrays: dict[str, NDArray[Any]]) -> Tracks:
    """Return the track of each point, 0 for noise: what the experiment tags so is on no track."""
    tracks: Tracks = np.where(arrays["noise"], 0, arrays["track_id"]).astype(np.int64)
    return tracks


@dataclass(frozen=True)
class EventSet:
    """E events of a split, in the order of the store, in memory."""

    packed: Packed
    columns: tuple[Column, ...]
    reads: Reads
    store_hash: str

    def __len__(self) -> int:
        """The number of events."""
        return len(self.packed)

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Event e owns rows offsets[e] to offsets[e + 1], (E + 1)."""
        return self.packed.offsets

    @property
    def event_id(self) -> NDArray[np.int64]:
        """The global id of each event, (E)."""
        return self.packed.event_id

    def per_point(self, name: str) -> NDArray[Any]:
        """Return the array `name` of the points, (P, ...), stored as it is or made of others."""
        return made(self.packed.per_point, name)

    def per_event(self, name: str) -> NDArray[Any]:
        """Return the array `name` of the events, (E, ...)."""
        return self.packed.per_event[name]

    def batch(self, start: int, stop: int) -> Batch:
        """Return the events `start` to `stop`, the last not included."""
        return batch_of(self.packed.slice(start, stop), self.columns, self.reads)

    def batches(self, events: int) -> Iterator[Batch]:
        """Yield all events, `events` at a time, the last batch with what is left."""
        for start in range(0, len(self), events):
            yield self.batch(start, min(start + events, len(self)))

    def physical(self, stop: int) -> NDArray[np.float32]:
        """Return the first `stop` points in physical units, in the columns of the store."""
        points: NDArray[np.float32] = self.packed.per_point["points"][:stop]
        return points


def load(source: Source) -> EventSet:
    """Return the events of `source`, all that is read of them in memory.

    Raises:
        BadInput: There is no such store or split, or something that is read is not in it.
    """
    source.open()
    (events,) = stream(source, source.count)
    return events


def stream(source: Source, events: int) -> Iterator[EventSet]:
    """Yield the events of `source`, which was opened before, in the order of the store.

    So many `events` at a time are in memory, the last with what is left.
    """
    store = Store.open(source.path)
    reading = Reading(
        arrays=arrays_of(source.reads),
        lane_events=events,
        events=source.events,
        shuffle=False,
        epochs=1,
    )
    for packed in Loader(store, source.split, reading):
        yield EventSet(packed, store.manifest.columns, source.reads, store_hash(store))


def store_hash(store: Store) -> str:
    """Return the SHA-256 that stands for all files of the store's shards, wherever they lie."""
    return store.manifest.content_sha256


def array_hash(values: NDArray[Any]) -> str:
    """Return the SHA-256 of an array's values."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
