"""Classes of jets. Axes: P constituents, packed · B jets · C classes · W width."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.errors import BadInput
from pipeline.downstream.jets.spec import JetHead, Pooling
from pipeline.downstream.truth import Rows, Truth
from pipeline.evaluation.classification import evaluate_classes
from pipeline.evaluation.result import Look
from pipeline.families import Family
from pipeline.nn.batch import Batch
from pipeline.nn.class_losses import beyond
from pipeline.nn.hidden import Hidden

TOLD = "probabilities"
NO_CLASS = -100


class SummationHead(nn.Module):
    """Classes from the sum over the constituents: 66,306 parameters of two classes at width 256."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.each = nn.Linear(width, width)
        self.classes = nn.Linear(width, classes)

    def forward(self, hidden: Hidden, batch: Batch) -> Tensor:
        """Return logits (B, C)."""
        each = functional.relu(self.each(hidden.points[-1]))
        total = each.new_zeros(len(batch.sizes), each.shape[1]).index_add(0, batch.event, each)
        logits: Tensor = self.classes(total)
        return logits


class AttentionHead(nn.Module):
    """Classes from one learned query that looks at the constituents of its jet."""

    def __init__(self, width: int, classes: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(width) * width**-0.5)
        self.look = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.classes = nn.Linear(width, classes)

    def forward(self, hidden: Hidden, batch: Batch) -> Tensor:
        """Return logits (B, C)."""
        points, real = batch.padded(hidden.points[-1])
        query = self.query.expand(len(points), 1, -1)
        seen, _ = self.look(query, points, points, key_padding_mask=~real, need_weights=False)
        logits: Tensor = self.classes(self.norm(seen.squeeze(1)))
        return logits


class TokenHead(nn.Module):
    """Classes from the state of a jet: a layer, as Particle Transformer has it."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classes = nn.Linear(width, classes)

    def forward(self, hidden: Hidden, batch: Batch) -> Tensor:
        """Return logits (B, C)."""
        logits: Tensor = self.classes(hidden.pooled(batch))
        return logits


def build(head: JetHead, model: Family) -> nn.Module:
    """Return the head, which gives logits (B, C)."""
    return teller(model, len(head.classes), head.pooling, head.heads)


def teller(model: Family, classes: int, pooling: Pooling, heads: int) -> nn.Module:
    """Return what gives logits (B, C) of so many classes, by the given pooling."""
    if pooling == "token":
        return TokenHead(model.event_width, classes)
    if pooling == "sum":
        return SummationHead(model.hidden[1], classes)
    return AttentionHead(model.hidden[1], classes, heads)


def loss(output: Tensor, batch: Batch, head: JetHead) -> dict[str, Tensor]:
    """Return the cross-entropy of the true classes, nats a jet; a jet of no class adds nothing.

    Raises:
        BadInput: A label is none of the classes.
    """
    true = batch.per_event["label"]
    if head.labels:
        grouped = torch.from_numpy(classes_of(true.cpu().numpy(), head)).to(true.device)
        entropy = functional.cross_entropy(
            output.float(), grouped, ignore_index=NO_CLASS, reduction="sum"
        )
        return {"class": entropy / len(true)}
    if beyond(true, len(head.classes)):
        message = (
            f"labels from {int(true.min())} to {int(true.max())}; the head has "
            f"{len(head.classes)} classes: {', '.join(head.classes)}. Name all of them, in the "
            "order of the labels."
        )
        raise BadInput(message)
    return {"class": functional.cross_entropy(output.float(), true)}


def answer(output: Tensor, batch: Batch, head: JetHead) -> dict[str, Tensor]:  # noqa: ARG001
    """Return the probability of each class (B, C)."""
    return {TOLD: output.float().softmax(-1)}


def score(told: Rows, truth: Truth, head: JetHead, seed: int) -> Look:
    """Return the scores of the classes of jets, of those that are of one."""
    true = classes_of(truth.per_event["label"], head)
    some = true != NO_CLASS
    return evaluate_classes(true[some], told[TOLD][some], None, names=head.classes, seed=seed)


def classes_of(labels: NDArray[Any], head: JetHead) -> NDArray[np.int64]:
    """Return the class of each of `labels` (B), `NO_CLASS` of one that is in none."""
    if not head.labels:
        return labels.astype(np.int64)
    found = np.full(len(labels), NO_CLASS, np.int64)
    for number, mine in enumerate(head.labels):
        found[np.isin(labels, mine)] = number
    return found
