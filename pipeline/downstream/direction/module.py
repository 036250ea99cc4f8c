"""Where neutrinos came from. Axes: B events · W width."""

from torch import Tensor, nn
from torch.nn import functional

from pipeline.downstream.direction.loss import opening_angle
from pipeline.downstream.direction.score import PREDICTION
from pipeline.downstream.direction.spec import DirectionTask
from pipeline.families import Family
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden


class DirectionRegressor(nn.Module):
    """From the state of an event to a unit vector: W to 1024 to 3."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, 3))

    def forward(self, hidden: Hidden, batch: Batch) -> Tensor:
        """Return unit vectors (B, 3), in single precision."""
        return functional.normalize(self.net(hidden.pooled(batch)).float(), dim=1)


def build(task: DirectionTask, model: Family) -> nn.Module:
    """Return the task."""
    return DirectionRegressor(model.event_width, task.inner)


def loss(output: Tensor, batch: Batch, task: DirectionTask) -> dict[str, Tensor]:
    """Return the mean opening angle, rad, between predicted and true directions."""
    return opening_angle(output, batch)


def predict(output: Tensor, batch: Batch, task: DirectionTask) -> dict[str, Tensor]:
    """Return the unit vectors (B, 3)."""
    return {PREDICTION: output}
