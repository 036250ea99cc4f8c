"""OmniLearned's objectives: the velocity in noise, and the class of an event as it is and in noise.

Lipman et al., arXiv:2210.02747; Mikuni, Nachman, arXiv:2404.16091; Bhimji et al., arXiv:2510.24066.
Axes: P points, packed · B events · F columns that flow.
"""

from typing import Protocol

import torch
from torch.nn import functional

from pipeline.training.batch import Batch
from pipeline.training.models.flow import Flow, labels
from pipeline.training.models.omnilearned import Told
from pipeline.training.objectives import Losses, event_mean
from pipeline.training.objectives.classes import classes as by_class


class Flows(Protocol):
    """The output of any model that tells a velocity."""

    @property
    def flow(self) -> Flow | None:
        """What was told of the velocity."""


def flow(told: Flows, batch: Batch) -> Losses:
    """Return the mean squared error of the velocity: over columns, points, then events."""
    assert told.flow is not None
    squared = (told.flow.told.float() - told.flow.true).square().mean(1)
    return {"flow": event_mean(squared, torch.ones_like(squared), batch)}


def classes(told: Told, batch: Batch) -> Losses:
    """Return the cross-entropy of the class of an event, nats, a mean over events.

    The published trainer weighs classes by how rare they are in the batch of one process; ours
    does not, for a loss would then be another at another number of processes.
    """
    assert told.logits is not None
    return by_class(told.logits, batch)


def perturbed(told: Told, batch: Batch) -> Losses:
    """Return the cross-entropy in noise, each event weighted with the square of α = 1 - t.

    What is left of the points in z = α x + t ε.
    """
    assert told.in_noise is not None
    assert told.flow is not None
    weight, logits = (1 - told.flow.time).square(), told.in_noise.float()
    entropy = functional.cross_entropy(logits, labels(batch, logits.shape[1]), reduction="none")
    return {"perturbed": (weight * entropy).mean()}
