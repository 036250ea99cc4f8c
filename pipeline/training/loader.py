"""Packed batches of a Zarr store for one process of a training, and whole splits for evaluation.

Which events make which batch, and in which order, is the data room's business
(`pipeline.data.loading`): it depends on the task alone, so a resume at any world size goes on where
the last link stopped.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.campaign import Training
from pipeline.data.errors import BadInput
from pipeline.data.experiment import Column
from pipeline.data.loading import Loader, Packed, Reading
from pipeline.data.store import Store
from pipeline.training.batch import Batch

Tracks = NDArray[np.int64]
TRACK, NOISE = "track_id", "noise"


@dataclass(frozen=True)
class Wanted:
    """What is read of a store: how many of each point's neighbours, and whether the truth."""

    neighbours: int = 0
    tracks: bool = False

    @property
    def arrays(self) -> tuple[str, ...]:
        """The names of the arrays to read."""
        names = ["points"]
        names += ["neighbours"] * bool(self.neighbours) + [TRACK, NOISE] * self.tracks
        return tuple(names)


@dataclass(frozen=True)
class Source:
    """`events` events (all, if None) of a split of the store in `path`, of which `wanted` is read.

    Raises:
        BadInput: There is no such store or split, or it holds too few events or neighbours, or no
            truth.
    """

    path: Path
    split: str
    wanted: Wanted
    events: int | None = None

    def open(self) -> Store:
        """Return the store, in which what is wanted is there."""
        store = Store.open(self.path)
        held = store.events(self.split)
        if self.events is not None and not 0 < self.events <= held:
            message = (
                f"{store.path}: {self.events} events asked of split {self.split!r}, which holds "
                f"{held}."
            )
            raise BadInput(message)
        staged = store.manifest.neighbours
        if self.wanted.neighbours > staged:
            message = (
                f"{store.path}: {self.wanted.neighbours} next neighbours asked, {staged} staged. "
                "Stage again with more neighbours, or ask the model for fewer."
            )
            raise BadInput(message)
        return store

    @property
    def count(self) -> int:
        """The number of events that are trained on."""
        return self.events or self.open().events(self.split)

    def batches(
        self, training: Training, seed: int, *, rank: int, ranks: int, seen: int
    ) -> Iterator[Batch]:
        """Yield the batches of one process for ever, from where all have `seen` events on."""
        store = self.open()
        reading = Reading(
            arrays=self.wanted.arrays,
            lanes=training.lanes,
            lane_events=training.batch_events // training.lanes,
            events=self.events,
            seed=seed,
        )
        loader = Loader(store, self.split, reading, rank=rank, ranks=ranks)
        loader.seek(seen // training.batch_events)
        for packed in loader:
            yield batch_of(packed, store.manifest.columns, self.wanted)


def batch_of(packed: Packed, columns: tuple[Column, ...], wanted: Wanted) -> Batch:
    """Return `packed` as torch sees it: points normalised as `columns` say, labels as int64."""
    arrays = packed.per_point
    count = len(arrays["points"])
    places = np.empty((count, 0), np.int64)
    if wanted.neighbours:
        places = arrays["neighbours"][:, : wanted.neighbours].astype(np.int64)
    return Batch(
        points=torch.from_numpy(normalised(arrays["points"], columns)),
        offsets=torch.from_numpy(packed.offsets),
        neighbours=torch.from_numpy(places),
        track=torch.from_numpy(_tracks(arrays) if wanted.tracks else np.empty(0, np.int64)),
        event_id=torch.from_numpy(packed.event_id.copy()),
    )


def normalised(points: NDArray[np.float32], columns: tuple[Column, ...]) -> NDArray[np.float32]:
    """Return `points` (P, F), each column less its offset, over its scale."""
    scale, offset = _affine(columns)
    return ((points - offset) / scale).astype(np.float32)


def _affine(columns: tuple[Column, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (scale, offset) of the columns of `points`."""
    return np.array([c.scale for c in columns]), np.array([c.offset for c in columns])


def _tracks(arrays: dict[str, NDArray[Any]]) -> Tracks:
    """Return the track of each point, 0 for noise: what the experiment tags so is on no track."""
    tracks: Tracks = np.where(arrays[NOISE], 0, arrays[TRACK]).astype(np.int64)
    return tracks


@dataclass(frozen=True)
class EventSet:
    """All E events of a split, in the order of the store, in memory; track (P), 0 for noise."""

    packed: Packed
    columns: tuple[Column, ...]
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

    @property
    def track(self) -> Tracks:
        """The true track of each point, (P)."""
        return _tracks(self.packed.per_point)

    def batch(self, start: int, stop: int) -> Batch:
        """Return the events `start` to `stop`, the last not included."""
        return batch_of(self.packed.slice(start, stop), self.columns, Wanted(tracks=True))

    def physical(self, stop: int) -> NDArray[np.float32]:
        """Return the first `stop` points in physical units: energy, eta, phi, r."""
        points: NDArray[np.float32] = self.packed.per_point["points"][:stop]
        return points


def load(path: Path, split: str) -> EventSet:
    """Return all events of a split of the store `path`, with their truth.

    Raises:
        BadInput: There is no such store or split, or no truth in it.
    """
    wanted = Wanted(tracks=True)
    store = Source(path, split, wanted).open()
    everything = Reading(
        arrays=wanted.arrays, lane_events=store.events(split), shuffle=False, epochs=1
    )
    (packed,) = Loader(store, split, everything)
    return EventSet(packed, store.manifest.columns, store_hash(store))


def store_hash(store: Store) -> str:
    """Return the SHA-256 that stands for all files of the store's shards, wherever they lie."""
    files = [shard.files for shard in store.manifest.shards]
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def array_hash(values: NDArray[Any]) -> str:
    """Return the SHA-256 of an array's values."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
