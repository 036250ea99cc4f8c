"""The exponential moving average (EMA) of a model's weights over its training."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.campaign import Training


class EMA:
    """The average v of the trained weights w, in single precision: v ← d v + (1 - d) w per step.

    d = exp(-batch_events / ema_events), so that the weights n events ago count exp(-n / ema_events)
    at any batch size. It starts at the initial weights of the training.
    """

    def __init__(self, model: nn.Module, training: Training) -> None:
        """Start at the weights of `model`.

        Raises:
            ValueError: `training` sets no `ema_events`.
        """
        if not training.ema_events:
            message = "ema_events is not set, so there is no average to keep."
            raise ValueError(message)
        self.decay = math.exp(-training.batch_events / training.ema_events)
        self.values = {name: value.float().clone() for name, value in _trained(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average with the present weights of `model`."""
        for name, value in _trained(model).items():
            self.values[name].lerp_(value.float(), 1 - self.decay)

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Continue from the average `values` of a checkpoint."""
        for name, value in self.values.items():
            value.copy_(values[name])


def _trained(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of `model` that are not frozen, by name."""
    return {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
