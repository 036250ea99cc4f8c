"""Events of a Zarr store as packed batches, in an order that depends on seed and position alone.

The position counts events over the whole training, so a resume at any world size goes on where the
last link stopped.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.errors import BadInput
from pipeline.data.experiment import Column
from pipeline.data.store import Shard, Store
from pipeline.training.batch import Batch

Tracks = NDArray[np.int64]
TRACK, NOISE = "track_id", "noise"


@dataclass(frozen=True)
class EventSet:
    """E events of P points in memory, normalised as the store's manifest says.

    neighbours is (P, k), of no columns where nobody asked; track is (P), empty likewise, and 0
    for noise: for track finding, what the experiment tags as noise belongs to no track.
    """

    points: NDArray[np.float32]
    offsets: NDArray[np.int64]
    event_id: NDArray[np.int64]
    neighbours: NDArray[np.int64]
    track: Tracks
    columns: tuple[Column, ...]
    store_hash: str

    def __len__(self) -> int:
        """The number of events."""
        return len(self.event_id)

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """Return the events `indices`, packed in that order."""
        spans = [np.arange(self.offsets[i], self.offsets[i + 1]) for i in indices]
        rows = np.concatenate(spans)
        offsets = np.concatenate([[0], np.cumsum([len(span) for span in spans])])
        return Batch(
            points=torch.from_numpy(self.points[rows]),
            offsets=torch.from_numpy(offsets),
            neighbours=torch.from_numpy(self.neighbours[rows]),
            track=torch.from_numpy(self.track[rows] if len(self.track) else self.track),
            event_id=torch.from_numpy(self.event_id[indices]),
        )

    def physical(self, stop: int) -> NDArray[np.float32]:
        """Return the first `stop` points in physical units: energy, eta, phi, r."""
        scale, offset = _affine(self.columns)
        return (self.points[:stop] * scale + offset).astype(np.float32)


def load(
    path: Path, split: str, *, events: int | None = None, neighbours: int = 0, tracks: bool = False
) -> EventSet:
    """Return the first `events` events (all, if None) of a split of the store `path`.

    `neighbours` is how many of each point's next neighbours are wanted, `tracks` whether the truth.

    Raises:
        BadInput: There is no such store or split, or it holds too few events or neighbours, or no
            truth.
    """
    store = Store.open(path)
    wanted = store.events(split) if events is None else events
    _check(store, split, wanted, neighbours)
    names = ["points", "offsets", "event_id"]
    names += ["neighbours"] * bool(neighbours) + [TRACK, NOISE] * tracks
    shards = _enough(store.shards(split), wanted)
    arrays = [shard.read(tuple(names)) for shard in shards]
    offsets = _joined(arrays)[: wanted + 1]
    points = np.concatenate([each["points"] for each in arrays])[: offsets[-1]]
    scale, offset = _affine(store.manifest.columns)
    return EventSet(
        points=((points - offset) / scale).astype(np.float32),
        offsets=offsets,
        event_id=np.concatenate([each["event_id"] for each in arrays])[:wanted],
        neighbours=_columns(arrays, "neighbours", neighbours, int(offsets[-1])),
        track=_tracks(arrays, int(offsets[-1])) if tracks else np.empty(0, np.int64),
        columns=store.manifest.columns,
        store_hash=store_hash(store),
    )


def _check(store: Store, split: str, events: int, neighbours: int) -> None:
    """Refuse what the store does not hold."""
    held = store.events(split)
    if not 0 < events <= held:
        message = f"{store.path}: {events} events asked of split {split!r}, which holds {held}."
        raise BadInput(message)
    if neighbours > store.manifest.neighbours:
        staged = store.manifest.neighbours
        message = (
            f"{store.path}: {neighbours} next neighbours asked, {staged} staged. "
            "Stage again with more neighbours, or ask the model for fewer."
        )
        raise BadInput(message)


def _enough(shards: list[Shard], events: int) -> list[Shard]:
    """Return the first shards that hold `events` events together."""
    held = np.cumsum([shard.record.events for shard in shards])
    return shards[: int(np.searchsorted(held, events)) + 1]


def _joined(arrays: list[dict[str, Any]]) -> NDArray[np.int64]:
    """Return the offsets of all shards together."""
    sizes = np.concatenate([np.diff(each["offsets"]) for each in arrays])
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _rows(arrays: list[dict[str, Any]], name: str, stop: int) -> NDArray[np.int64]:
    """Return the first `stop` rows of an integer array of all shards together."""
    return np.concatenate([each[name] for each in arrays])[:stop].astype(np.int64)


def _tracks(arrays: list[dict[str, Any]], stop: int) -> Tracks:
    """Return the track of the first `stop` points, 0 for noise."""
    return np.where(_rows(arrays, NOISE, stop), 0, _rows(arrays, TRACK, stop))


def _columns(arrays: list[dict[str, Any]], name: str, columns: int, stop: int) -> NDArray[np.int64]:
    """Return the first `columns` columns of such an array, (stop, 0) if none is wanted."""
    return _rows(arrays, name, stop)[:, :columns] if columns else np.empty((stop, 0), np.int64)


def _affine(columns: tuple[Column, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (scale, offset) of the columns of `points`."""
    return np.array([c.scale for c in columns]), np.array([c.offset for c in columns])


def store_hash(store: Store) -> str:
    """Return the SHA-256 that stands for all files of the store's shards, wherever they lie."""
    files = [shard.files for shard in store.manifest.shards]
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def array_hash(values: NDArray[Any]) -> str:
    """Return the SHA-256 of an array's values."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def shuffled(events: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order in which `epoch` visits `events` events."""
    return np.random.default_rng((seed, epoch)).permutation(events)


def visited(events: int, seed: int, start: int, count: int) -> NDArray[np.int64]:
    """Return the events at the positions start … start + count of the whole training."""
    positions = np.arange(start, start + count)
    epochs = positions // events
    orders = {epoch: shuffled(events, seed, int(epoch)) for epoch in np.unique(epochs)}
    return np.array([orders[e][p % events] for e, p in zip(epochs, positions, strict=True)])
