"""A head on points: self-attention in each event, and a linear layer.

Axes: P points, packed · C classes · W width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.downstream.points import ClassHead, PointHead
from pipeline.downstream.truth import Rows, Truth
from pipeline.evaluation.classification import evaluate_classes
from pipeline.evaluation.result import Look
from pipeline.families import Family
from pipeline.nn.adapter import Adapter
from pipeline.nn.attention import Lengths
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden
from pipeline.nn.losses import event_mean
from pipeline.nn.transformer import Block, Style

TOLD = "probabilities"


class PointTeller(nn.Module):
    """The backbone's layers combined, a block of self-attention in each event, a linear layer."""

    def __init__(self, model: Family, head: PointHead, outputs: int) -> None:
        super().__init__()
        self.adapter = Adapter(model, head.width)
        self.among = Block(Style(width=head.width, heads=head.heads, inner=2 * head.width))
        self.out = nn.Linear(head.width, outputs)

    def forward(self, hidden: Hidden, batch: Batch) -> Tensor:
        """Return what is told of each point (P, outputs)."""
        points = self.among(self.adapter(hidden.points), Lengths.of(batch.offsets))
        told: Tensor = self.out(points)
        return told


def build(head: ClassHead, model: Family) -> nn.Module:
    """Return the head, which gives logits (P, C)."""
    return PointTeller(model, head, len(head.NAMES))


def loss(output: Tensor, batch: Batch, head: ClassHead) -> dict[str, Tensor]:
    """Return the focal loss, (1 - p)^γ · -ln p of the true class (arXiv:1708.02002, eq. 4)."""
    true = batch.per_point[head.PER_POINT[0]].long()
    entropy = functional.cross_entropy(output.float(), true, reduction="none")
    focal = (1 - torch.exp(-entropy)) ** head.gamma * entropy
    return {"focal": event_mean(focal, torch.ones_like(focal), batch)}


def answer(output: Tensor, batch: Batch, head: ClassHead) -> dict[str, Tensor]:  # noqa: ARG001
    """Return the probability of each class (P, C)."""
    return {TOLD: output.float().softmax(-1)}


def score(told: Rows, truth: Truth, head: ClassHead, seed: int) -> Look:
    """Return the scores of the classes of points; events are what is drawn anew."""
    true = truth.per_point[head.PER_POINT[0]].astype("int64")
    return evaluate_classes(true, told[TOLD], truth.offsets, names=head.NAMES, seed=seed)
