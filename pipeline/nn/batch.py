"""A batch of events, packed end to end."""

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field

import torch
from torch import Tensor

from pipeline.nn.lengths import Lengths

Range = tuple[int, int]


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
    known: InitVar[Lengths | None] = None
    known_ranges: InitVar[Mapping[str, Range] | None] = None
    lengths: Lengths = field(init=False, repr=False, compare=False)
    ranges: Mapping[str, Range] = field(init=False, repr=False, compare=False)

    def __post_init__(
        self, known: Lengths | None, known_ranges: Mapping[str, Range] | None
    ) -> None:
        """Take what is known on the CPU, or read the offsets; refuse parts that disagree."""
        lengths = Lengths.of(self.offsets) if known is None else known
        if lengths.tokens != self.points.shape[0]:
            message = f"offsets {self.offsets.tolist()} do not cut {len(self.points)} points."
            raise ValueError(message)
        object.__setattr__(self, "lengths", lengths)
        object.__setattr__(self, "ranges", known_ranges or {})

    @property
    def sizes(self) -> Tensor:
        """The number of points of each event (B)."""
        return self.lengths.sizes

    @property
    def event(self) -> Tensor:
        """The event of each point (P), counted from 0."""
        return self.lengths.event

    @property
    def index_in_event(self) -> Tensor:
        """The index of each point within its event (P)."""
        return self.lengths.index_in_event

    def padded(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return `values` (P, ...) as (B, L, ...) padded with zeros, and which are real (B, L)."""
        places = torch.arange(self.lengths.longest, device=values.device)
        return self.lengths.filled(values), places < self.sizes.unsqueeze(1)

    def range_of(self, name: str) -> Range:
        """Return the least and the largest integer of an array of points or events.

        A batch that was moved to a device knows it from before; any other asks the values.
        """
        if name in self.ranges:
            return self.ranges[name]
        values = self.per_event[name] if name in self.per_event else self.per_point[name]
        return int(values.min()), int(values.max())

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on `device`; what was known of it on the CPU is known there."""
        lengths, arrays = self.lengths.to(device), {**self.per_point, **self.per_event}
        ranges = {name: _range(each) for name, each in arrays.items() if _is_numbered(each)}
        return Batch(
            _to(self.points, device),
            lengths.offsets,
            _to(self.event_id, device),
            {name: _to(each, device) for name, each in self.per_point.items()},
            {name: _to(each, device) for name, each in self.per_event.items()},
            None if self.epoch is None else _to(self.epoch, device),
            self.seed,
            lengths,
            {**ranges, **self.ranges},
        )


@dataclass(frozen=True)
class MicroBatch:
    """Events taken forward at once; their mean loss counts `weight` times in that of the batch.

    If it is not `is_whole`, events may have been left out, and it counts by those that are left.
    """

    batch: Batch
    weight: float = 1.0
    is_whole: bool = True


def _is_numbered(values: Tensor) -> bool:
    """Return whether these are integers on the CPU, one for each point or event."""
    return values.device.type == "cpu" and values.dtype == torch.int64 and values.ndim == 1


def _range(values: Tensor) -> Range:
    """Return the least and the largest of `values` (N) on the CPU."""
    numbers = values.numpy()
    return int(numbers.min()), int(numbers.max())


def _to(values: Tensor, device: torch.device) -> Tensor:
    """Return `values` on `device`, which may still be on their way."""
    return values.to(device, non_blocking=True)
