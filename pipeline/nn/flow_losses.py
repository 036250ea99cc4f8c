"""The objective of models that generate by a flow: the velocity of points in noise.

Lipman et al., arXiv:2210.02747. Axes: P points, packed · F columns that flow.
"""

from typing import Protocol

import torch

from pipeline.nn.batch import Batch
from pipeline.nn.flow import Flow
from pipeline.nn.losses import Losses, event_mean


class Flows(Protocol):
    """The output of any model that predicts a velocity."""

    @property
    def flow(self) -> Flow | None:
        """The predicted and true velocity."""


def flow(output: Flows, batch: Batch) -> Losses:
    """Return the mean squared error of the velocity: over columns, points, then events."""
    assert output.flow is not None
    squared = (output.flow.predicted.float() - output.flow.true).square().mean(1)
    return {"flow": event_mean(squared, torch.ones_like(squared), batch)}
