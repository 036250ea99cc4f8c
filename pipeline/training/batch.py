"""A batch of events, packed end to end."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B events of P points together; what a model, a head and an objective see.

    points (P, 4) float32: normalised energy, eta, phi, r, in serialised order.
    offsets (B + 1) int64: event b is points[offsets[b]:offsets[b + 1]].
    neighbours (P, k) int64: places in the event of the k next neighbours, -1 where there is none.
    track (P) int64: the true track of each point, 0 for noise; empty where there is no truth.
    event_id (B) int64: the events' global ids.
    """

    points: Tensor
    offsets: Tensor
    neighbours: Tensor
    track: Tensor
    event_id: Tensor

    def __post_init__(self) -> None:
        """Refuse a batch whose parts disagree."""
        if int(self.offsets[-1]) != len(self.points) or bool((self.sizes < 1).any()):
            message = f"offsets {self.offsets.tolist()} do not cut {len(self.points)} points."
            raise ValueError(message)

    @property
    def sizes(self) -> Tensor:
        """The number of points of each event (B)."""
        return self.offsets.diff()

    @cached_property
    def event(self) -> Tensor:
        """The event of each point (P), counted from 0."""
        numbers = torch.arange(len(self.sizes), device=self.sizes.device)
        return numbers.repeat_interleave(self.sizes)

    @cached_property
    def place(self) -> Tensor:
        """The place of each point in its event (P)."""
        starts = self.offsets[:-1].repeat_interleave(self.sizes)
        return torch.arange(len(self.points), device=self.points.device) - starts

    def padded(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return `values` (P, ...) as (B, L, ...) padded with zeros, and which are real (B, L)."""
        shape = (len(self.sizes), int(self.sizes.max()))
        real = torch.zeros(shape, dtype=torch.bool, device=values.device)
        real[self.event, self.place] = True
        padded = values.new_zeros((*shape, *values.shape[1:]))
        return padded.index_put((self.event, self.place), values), real

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on `device`."""
        names = ("points", "offsets", "neighbours", "track", "event_id")
        return Batch(*(getattr(self, name).to(device, non_blocking=True) for name in names))
