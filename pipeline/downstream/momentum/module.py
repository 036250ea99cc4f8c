"""The transverse momentum of particles, from each of their points. Axes: P points, packed."""

from torch import Tensor, nn
from torch.nn import functional

from pipeline.downstream.momentum.score import PREDICTION
from pipeline.downstream.momentum.spec import MomentumTask
from pipeline.families import Family
from pipeline.nn.batch import Batch
from pipeline.nn.losses import event_mean
from pipeline.nn.point_head import PointHead


def build(task: MomentumTask, model: Family) -> nn.Module:
    """Return the head, which gives ln(pT / GeV) of each point's particle (P, 1)."""
    return PointHead(model, task.width, task.heads, 1)


def loss(output: Tensor, batch: Batch, task: MomentumTask) -> dict[str, Tensor]:
    """Return Huber's loss of ln pT over the points of particles whose pT is known."""
    pt_gev = batch.per_point["pt_gev"]
    known = (pt_gev > 0) & (batch.per_point["track"] != 0)
    true = pt_gev.clamp(min=1e-6).log()
    error = functional.smooth_l1_loss(output.float().squeeze(1), true, reduction="none")
    return {"log_pt": event_mean(error, known.float(), batch)}


def predict(output: Tensor, batch: Batch, task: MomentumTask) -> dict[str, Tensor]:
    """Return ln(pT / GeV) of the particle of each point (P)."""
    return {PREDICTION: output.float().squeeze(1)}
