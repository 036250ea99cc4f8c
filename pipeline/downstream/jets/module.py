"""Classes of jets. Axes: P constituents, packed · B jets · C classes · W width."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.errors import BadInput
from pipeline.downstream.jets.score import NO_CLASS, PREDICTION, classes_of
from pipeline.downstream.jets.spec import JetTask, Pooling
from pipeline.families import Family
from pipeline.nn.batch import Batch
from pipeline.nn.class_losses import LABEL, beyond
from pipeline.nn.hidden import Hidden


class SummationHead(nn.Module):
    """Classes from the sum over the constituents: 66,306 parameters of two classes at width 256."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.each = nn.Linear(width, width)
        self.classes = nn.Linear(width, classes)

    def forward(self, hidden: Hidden, batch: Batch) -> Tensor:
        """Return logits (B, C)."""
        each = functional.relu(self.each(hidden.points[-1]))
        total = each.new_zeros(batch.lengths.events, each.shape[1]).index_add(0, batch.event, each)
        logits: Tensor = self.classes(total)
        return logits


CLASS_BLOCKS = 3  # gabbro/models/backbone.py of uhh-pd-ml/omnijet_alpha at 1c8d442


class ClassBlock(nn.Module):
    """What the token sees of itself and the constituents, all normalised; it looks as it is."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, token: Tensor, points: Tensor, real: Tensor) -> Tensor:
        """Return the token (B, 1, W) after it has attended to `real` (B, 1 + L) states."""
        states = self.norm(torch.cat([token, points], 1))
        seen, _ = self.attend(token, states, states, key_padding_mask=~real, need_weights=False)
        return cast("Tensor", seen)


class ClassAttentionHead(nn.Module):
    """Classes from a token that attends to the constituents three times, as OmniJet-alpha has it.

    Without what the authors' blocks hold and do not use: a projection, second norms, feed-forwards.
    """

    def __init__(self, width: int, classes: int, heads: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.blocks = nn.ModuleList(ClassBlock(width, heads) for _ in range(CLASS_BLOCKS))
        self.last = nn.ModuleList(nn.Linear(width, outputs) for outputs in (width, width, classes))

    def forward(self, hidden: Hidden, batch: Batch) -> Tensor:
        """Return logits (B, C)."""
        points, real = batch.padded(hidden.points[-1])
        real = functional.pad(real, (1, 0), value=True)
        token = self.token.expand(points.shape[0], -1, -1)
        for block in self.blocks:
            token = block(token, points, real)
        first, second, classes = self.last
        inner = functional.silu(second(functional.silu(first(token[:, 0]))))
        logits: Tensor = classes(inner)
        return logits


class AttentionHead(nn.Module):
    """Classes from one learned query that attends to the constituents of its jet."""

    def __init__(self, width: int, classes: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(width) * width**-0.5)
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.classes = nn.Linear(width, classes)

    def forward(self, hidden: Hidden, batch: Batch) -> Tensor:
        """Return logits (B, C)."""
        points, real = batch.padded(hidden.points[-1])
        query = self.query.expand(points.shape[0], 1, -1)
        seen, _ = self.attend(query, points, points, key_padding_mask=~real, need_weights=False)
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


class MeanHead(nn.Module):
    """Classes from the mean over the constituents, as masked particle modelling has it.

    A linear layer without bias on each, the mean, and a linear layer; of two classes with one
    output, beside which the other class has the logit 0.
    """

    def __init__(self, width: int, inner: int, classes: int) -> None:
        super().__init__()
        self.each = nn.Linear(width, inner, bias=False)
        self.classes = nn.Linear(inner, 1 if classes == 2 else classes)

    def forward(self, hidden: Hidden, batch: Batch) -> Tensor:
        """Return logits (B, C)."""
        each = self.each(hidden.points[-1])
        logits: Tensor = self.classes(Hidden([each]).pooled(batch))
        return functional.pad(logits, (1, 0)) if logits.shape[1] == 1 else logits


def build(task: JetTask, model: Family) -> nn.Module:
    """Return the head, which gives logits (B, C)."""
    return classifier(model, len(task.classes), task.pooling, task.heads, inner=task.inner)


def classifier(
    model: Family, classes: int, pooling: Pooling, heads: int, *, inner: int = 0
) -> nn.Module:
    """Return a head that gives logits (B, C) of `classes` classes, by the given pooling.

    `inner` are the channels over which "mean" takes means, 0 for as many as a constituent has.
    """
    if pooling == "token":
        return TokenHead(model.event_width, classes)
    if pooling == "mean":
        return MeanHead(model.hidden[1], inner or model.hidden[1], classes)
    if pooling == "sum":
        return SummationHead(model.hidden[1], classes)
    if pooling == "class-attention":
        return ClassAttentionHead(model.hidden[1], classes, heads)
    return AttentionHead(model.hidden[1], classes, heads)


def loss(output: Tensor, batch: Batch, task: JetTask) -> dict[str, Tensor]:
    """Return the cross-entropy of the true classes, nats a jet; a jet of no class adds nothing.

    Raises:
        BadInput: A label is none of the classes.
    """
    true = batch.per_event["label"]
    if task.labels:
        grouped = torch.from_numpy(classes_of(true.cpu().numpy(), task)).to(true.device)
        entropy = functional.cross_entropy(
            output.float(), grouped, ignore_index=NO_CLASS, reduction="sum"
        )
        return {"class": entropy / len(true)}
    if beyond(batch, len(task.classes)):
        least, largest = batch.range_of(LABEL)
        message = (
            f"labels from {least} to {largest}; the head has "
            f"{len(task.classes)} classes: {', '.join(task.classes)}. Name all of them, in the "
            "order of the labels."
        )
        raise BadInput(message)
    return {"class": functional.cross_entropy(output.float(), true)}


def predict(output: Tensor, batch: Batch, task: JetTask) -> dict[str, Tensor]:
    """Return the probability of each class (B, C)."""
    return {PREDICTION: output.float().softmax(-1)}
