"""Numbers of events. Axes: B events · E events of a split · V values · W width."""

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.downstream.truth import Rows, Truth
from pipeline.downstream.values.spec import ValueHead
from pipeline.evaluation.result import Look
from pipeline.evaluation.values import evaluate_values
from pipeline.families import Family
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden

TOLD = "values"


class ValueTeller(nn.Module):
    """From the state of an event to its values, standardised."""

    def __init__(self, width: int, inner: int, values: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, values))

    def forward(self, hidden: Hidden, batch: Batch) -> Tensor:
        """Return the values (B, V), in single precision."""
        told: Tensor = self.net(hidden.pooled(batch)).float()
        return told


def build(head: ValueHead, model: Family) -> nn.Module:
    """Return the head."""
    return ValueTeller(model.event_width, head.inner, len(head.targets))


def loss(output: Tensor, batch: Batch, head: ValueHead) -> dict[str, Tensor]:
    """Return the mean squared error of each value, in units of its spread."""
    columns = zip(head.targets.items(), output.unbind(1), strict=True)
    return {
        f"{name}_error": ((batch.per_event[name].float() - mean) / spread - told).square().mean()
        for (name, (mean, spread)), told in columns
    }


def answer(output: Tensor, batch: Batch, head: ValueHead) -> dict[str, Tensor]:  # noqa: ARG001
    """Return the values (B, V) in their own units."""
    mean, spread = torch.tensor(list(head.targets.values()), device=output.device).unbind(1)
    return {TOLD: output * spread + mean}


def score(told: Rows, truth: Truth, head: ValueHead, seed: int) -> Look:
    """Return the scores of the values."""
    true = np.stack([truth.per_event[name] for name in head.targets], 1).astype(np.float64)
    return evaluate_values(true, told[TOLD].astype(np.float64), tuple(head.targets), seed=seed)
