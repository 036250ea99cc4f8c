"""What trainings minimise: means over the global batch, the same at any world size.

An objective is a function in `objective.py` of a family, which names it in its `OBJECTIVES`. It
returns means over the events of a batch; or, marked by `pooled`, over other terms, such as points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from pipeline.nn.batch import Batch

Losses = dict[str, Tensor]


class Objective(Protocol):
    """What is minimised: named losses, each a mean over the events of the batch, or its terms."""

    def __call__(self, output: Any, batch: Batch, /) -> Losses:
        """Return the parts of the loss."""


Marked = TypeVar("Marked", bound=Callable[..., Losses])
Count = Callable[[Batch], Tensor]
_COUNT = "count_of_terms"


def pooled(count: Callable[..., Tensor]) -> Callable[[Marked], Marked]:
    """Mark an objective as a mean over `count(batch)` terms, which events have in other numbers.

    `count` is given the keywords of the objective's settings, too. A micro-batch then counts by its
    terms, so that the mean is over those of the global batch.
    """

    def mark(objective: Marked) -> Marked:
        setattr(objective, _COUNT, count)
        return objective

    return mark


def count_of(objective: Objective) -> Count:
    """Return what counts the terms that `objective` is a mean over: events, unless marked."""
    if isinstance(objective, partial):
        bound = getattr(objective.func, _COUNT, events)
        return events if bound is events else partial(bound, **objective.keywords)
    found: Count = getattr(objective, _COUNT, events)
    return found


def events(batch: Batch) -> Tensor:
    """Return the number of events."""
    return batch.offsets.new_tensor(len(batch.event_id))


def points(batch: Batch) -> Tensor:
    """Return the number of points."""
    return batch.offsets[-1]


@dataclass(frozen=True)
class WeightedSum:
    """Objectives of one output with their weights; a part keeps its name and its own size."""

    parts: Sequence[tuple[Objective, float]]

    def __call__(
        self, output: Any, batch: Batch, shares: Sequence[float] = ()
    ) -> tuple[Tensor, Losses]:
        """Return the weighted sum of all parts, and each loss, times the `shares` of the parts."""
        recorded: Losses = {}
        weighted = []
        shares = shares or [1.0] * len(self.parts)
        parts = zip(self.each(output, batch), self.weights, shares, strict=True)
        for losses, weight, share in parts:
            shared = {name: share * loss for name, loss in losses.items()}
            weighted += [weight * loss for loss in shared.values()]
            recorded |= shared
        return torch.stack(weighted).sum(), recorded

    def each(self, output: Any, batch: Batch) -> list[Losses]:
        """Return the losses of each part, without its weight."""
        return [objective(output, batch) for objective, _ in self.parts]

    @property
    def weights(self) -> list[float]:
        """The weight of each part."""
        return [weight for _, weight in self.parts]

    @property
    def is_over_events(self) -> bool:
        """Whether every part is a mean over events."""
        return all(count_of(objective) is events for objective, _ in self.parts)

    def terms(self, batch: Batch) -> Tensor:
        """Return the number of terms (parts,) float64 of `batch` that each part is a mean over."""
        counts = [count_of(objective)(batch) for objective, _ in self.parts]
        return torch.stack(counts).to(batch.points.device, torch.float64)


def only(objective: Objective) -> WeightedSum:
    """Return `objective` by itself."""
    return WeightedSum([(objective, 1.0)])


def event_mean(values: Tensor, weights: Tensor, batch: Batch) -> Tensor:
    """Return the mean over events of each event's weighted mean of `values` (P)."""
    zeros = values.new_zeros(batch.lengths.events)
    total = zeros.index_add(0, batch.event, values * weights)
    count = zeros.index_add(0, batch.event, weights)
    return (total / count.clamp(min=1)).mean()
