"""The mean of a model's weights over the training, exponentially weighted."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.campaign import Training


class Average:
    """A mean v of the trained weights w, in single precision: v ← d v + (1 - d) w at each step.

    d = exp(-batch_events / ema_events), so that the weights of n events ago count exp(-n /
    ema_events) at any batch size. It begins at the weights that the training begins at.
    """

    def __init__(self, model: nn.Module, training: Training) -> None:
        """Begin at the weights of `model`.

        Raises:
            ValueError: `training` asks for no mean.
        """
        if training.ema_events is None:
            message = "ema_events is not set: there is no mean to keep."
            raise ValueError(message)
        self.kept = math.exp(-training.batch_events / training.ema_events)
        self.values = {name: value.float().clone() for name, value in _trained(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the weights of `model` into the mean."""
        for name, value in _trained(model).items():
            self.values[name].lerp_(value.float(), 1 - self.kept)

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Go on from the mean `values`."""
        for name, value in self.values.items():
            value.copy_(values[name])


def _trained(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of `model` that are not frozen, by name."""
    return {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
