"""What trainings minimise: losses that are means over events, so the same at any world size.

An objective is a function in a file here, which a family names in its `OBJECTIVES`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from pipeline.nn.batch import Batch

Losses = dict[str, Tensor]


class Objective(Protocol):
    """What is minimised: named parts, each a mean over the events of the batch."""

    def __call__(self, output: Any, batch: Batch, /) -> Losses:
        """Return the parts of the loss."""


@dataclass(frozen=True)
class WeightedSum:
    """Objectives of one output with their weights; a part keeps its name and its own size."""

    parts: Sequence[tuple[Objective, float]]

    def __call__(self, output: Any, batch: Batch) -> tuple[Tensor, Losses]:
        """Return the weighted sum of all parts, and each part as it is."""
        recorded: Losses = {}
        weighted = []
        for objective, weight in self.parts:
            losses = objective(output, batch)
            weighted += [weight * loss for loss in losses.values()]
            recorded |= losses
        return torch.stack(weighted).sum(), recorded


def only(objective: Objective) -> WeightedSum:
    """Return `objective` by itself."""
    return WeightedSum([(objective, 1.0)])


def event_mean(values: Tensor, weights: Tensor, batch: Batch) -> Tensor:
    """Return the mean over events of each event's weighted mean of `values` (P)."""
    zeros = values.new_zeros(len(batch.sizes))
    total = zeros.index_add(0, batch.event, values * weights)
    count = zeros.index_add(0, batch.event, weights)
    return (total / count.clamp(min=1)).mean()
