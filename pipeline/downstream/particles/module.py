"""Classes of points, by a head with self-attention. Axes: P points, packed · C classes."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.downstream.particles.score import PREDICTION
from pipeline.downstream.points import ClassTask
from pipeline.families import Family
from pipeline.nn.batch import Batch
from pipeline.nn.losses import event_mean
from pipeline.nn.point_head import PointHead


def build(task: ClassTask, model: Family) -> nn.Module:
    """Return the head, which gives logits (P, C)."""
    return PointHead(model, task.width, task.heads, len(task.NAMES))


def loss(output: Tensor, batch: Batch, task: ClassTask) -> dict[str, Tensor]:
    """Return the focal loss, (1 - p)^γ · -ln p of the true class (arXiv:1708.02002, eq. 4)."""
    true = batch.per_point[task.PER_POINT[0]].long()
    entropy = functional.cross_entropy(output.float(), true, reduction="none")
    focal = (1 - torch.exp(-entropy)) ** task.gamma * entropy
    return {"focal": event_mean(focal, torch.ones_like(focal), batch)}


def predict(output: Tensor, batch: Batch, task: ClassTask) -> dict[str, Tensor]:
    """Return the probability of each class (P, C)."""
    return {PREDICTION: output.float().softmax(-1)}
