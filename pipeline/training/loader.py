"""Events of a Zarr store as packed batches, in an order that depends on seed and position alone.

The position counts events over the whole training, so a resume at any world size goes on where the
last link stopped.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.training.batch import Batch


@dataclass(frozen=True)
class EventSet:
    """E events of P points in memory, normalised as the store's manifest says."""

    points: NDArray[np.float32]
    offsets: NDArray[np.int64]
    event_id: NDArray[np.int64]
    neighbours: NDArray[np.int32]
    track: NDArray[np.int32]

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
            neighbours=torch.from_numpy(self.neighbours[rows].astype(np.int64)),
            track=torch.from_numpy(self.track[rows].astype(np.int64)),
            event_id=torch.from_numpy(self.event_id[indices]),
        )


def shuffled(events: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order in which `epoch` visits `events` events."""
    return np.random.default_rng((seed, epoch)).permutation(events)


def visited(events: int, seed: int, start: int, count: int) -> NDArray[np.int64]:
    """Return the events at the positions start … start + count of the whole training."""
    positions = np.arange(start, start + count)
    epochs = positions // events
    orders = {epoch: shuffled(events, seed, int(epoch)) for epoch in np.unique(epochs)}
    return np.array([orders[e][p % events] for e, p in zip(epochs, positions, strict=True)])
