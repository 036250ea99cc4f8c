"""A linear layer on each point."""

import torch
from torch import nn
from torch.nn import functional

from pipeline.nn.losses import event_mean


class Head(nn.Module):
    """A logit of each point."""

    def __init__(self, width):
        super().__init__()
        self.out = nn.Linear(width, 1)

    def forward(self, hidden, _batch):
        """Return the logits (P)."""
        return self.out(hidden.points[-1]).squeeze(1)


def build(task, model):
    """Return the head."""
    return Head(model.hidden[1])


def loss(output, batch, task):
    """Return the entropy of the points."""
    hard = (batch.per_point["pt_gev"] > task.above_gev).float()
    entropy = functional.binary_cross_entropy_with_logits(output, hard, reduction="none")
    return {"hard": event_mean(entropy, torch.ones_like(entropy), batch)}


def predict(output, batch, task):
    """Return which points are hard."""
    return {"hard": (output > 0).long()}
