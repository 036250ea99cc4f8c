"""Numbers of events. Axes: B events · V values · W width."""

import torch
from torch import Tensor, nn

from pipeline.downstream.values.score import PREDICTION
from pipeline.downstream.values.spec import ValueTask
from pipeline.families import Family
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden


class ValueRegressor(nn.Module):
    """From the state of an event to its values, standardised."""

    def __init__(self, width: int, inner: int, values: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, values))

    def forward(self, hidden: Hidden, batch: Batch) -> Tensor:
        """Return the values (B, V), in single precision."""
        values: Tensor = self.net(hidden.pooled(batch)).float()
        return values


def build(task: ValueTask, model: Family) -> nn.Module:
    """Return the task."""
    return ValueRegressor(model.event_width, task.inner, len(task.targets))


def loss(output: Tensor, batch: Batch, task: ValueTask) -> dict[str, Tensor]:
    """Return the mean squared error of each value, in units of its spread."""
    columns = zip(task.targets.items(), output.unbind(1), strict=True)
    return {
        f"{name}_error": ((batch.per_event[name].float() - mean) / spread - predicted)
        .square()
        .mean()
        for (name, (mean, spread)), predicted in columns
    }


def predict(output: Tensor, batch: Batch, task: ValueTask) -> dict[str, Tensor]:
    """Return the values (B, V) in the units of the store."""
    mean, spread = torch.tensor(list(task.targets.values()), device=output.device).unbind(1)
    return {PREDICTION: output * spread + mean}
