"""A batch of events, packed end to end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B events of P points together; what a model, a head and an objective see.

    points (P, F) float32: the columns that the model reads, normalised as the store says.
    offsets (B + 1) int64: event b is points[offsets[b]:offsets[b + 1]].
    event_id (B) int64: the events' global ids.
    epoch (B) int64: the passes over the data before the one that an event is visited in; None for
    the first. With it, the event's id and the `seed` of the training, `pipeline.nn.draws` gives an
    event its random numbers.
    per_point, per_event: further arrays of P and B rows, by name; of numbers int64 or float32, or
    bool. `neighbours` (P, k) are the indices in the event of the k next neighbours, -1 where there
    is none; `track` (P) is the true track of each point, 0 for noise.
    """

    points: Tensor
    offsets: Tensor
    event_id: Tensor
    per_point: Mapping[str, Tensor] = field(default_factory=dict)
    per_event: Mapping[str, Tensor] = field(default_factory=dict)
    epoch: Tensor | None = None
    seed: int = 0

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
    def index_in_event(self) -> Tensor:
        """The index of each point within its event (P)."""
        starts = self.offsets[:-1].repeat_interleave(self.sizes)
        return torch.arange(len(self.points), device=self.points.device) - starts

    def padded(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return `values` (P, ...) as (B, L, ...) padded with zeros, and which are real (B, L)."""
        shape = (len(self.sizes), int(self.sizes.max()))
        real = torch.zeros(shape, dtype=torch.bool, device=values.device)
        real[self.event, self.index_in_event] = True
        padded = values.new_zeros((*shape, *values.shape[1:]))
        return padded.index_put((self.event, self.index_in_event), values), real

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on `device`."""
        return Batch(
            _to(self.points, device),
            _to(self.offsets, device),
            _to(self.event_id, device),
            {name: _to(each, device) for name, each in self.per_point.items()},
            {name: _to(each, device) for name, each in self.per_event.items()},
            None if self.epoch is None else _to(self.epoch, device),
            self.seed,
        )


@dataclass(frozen=True)
class MicroBatch:
    """Events taken forward at once; their mean loss counts `weight` times in that of the batch.

    If it is not `is_whole`, events may have been left out, and it counts by those that are left.
    """

    batch: Batch
    weight: float = 1.0
    is_whole: bool = True


def _to(values: Tensor, device: torch.device) -> Tensor:
    """Return `values` on `device`, which may still be on their way."""
    return values.to(device, non_blocking=True)
