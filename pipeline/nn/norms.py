"""Norms of packed rows: batch norm as jets' networks have it, or LayerNorm in its place.

Axes: N rows (particles, pairs or edges of all events, packed) · C channels.
"""

from collections.abc import Callable
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nn.collectives import Collective, summed

MOMENTUM = 0.1
EPSILON = 1e-5
Norm = Literal["batch", "layer"]


class BatchNorm(Collective):
    """(x - mean) / √(variance + ε) · weight + bias over rows (Ioffe, Szegedy, arXiv:1502.03167).

    In training of the rows of all processes that are taken forward together, if there are two or
    more; of the running means otherwise, and where the weights are frozen: what a frozen backbone
    has learned stays what it was. An engine's running means take in the rows of a whole step at its
    end. They are in single precision whatever the weights have, and so is all that is computed.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_variance", torch.ones(channels))
        self._moments: Tensor | None = None  # (3, C) float64 of this step, see `_moments_of`

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed rows (N, C), in the precision of the weights."""
        learns = self.training and self.weight.requires_grad
        if learns and self.is_stepped and self.counts and not self.computes_again:
            moments = _moments_of(x.detach())
            self._moments = moments if self._moments is None else self._moments + moments
        if learns and not self.collectives.is_alone:
            return self._over_all(x.float()).to(self.weight.dtype)
        normed = functional.batch_norm(
            x.float(),
            # What an engine steps takes its running means in at the end of the step.
            self.running_mean.clone() if self.is_stepped else self.running_mean,
            self.running_variance.clone() if self.is_stepped else self.running_variance,
            self.weight.float(),
            self.bias.float(),
            training=learns and len(x) > 1,
            momentum=MOMENTUM,
        )
        return normed.to(self.weight.dtype)

    def _over_all(self, x: Tensor) -> Tensor:
        """Return the rows x (N, C) normed by those of all processes; all call."""
        counted = float(self.counts)
        here = x.new_tensor([counted * len(x)])
        sums = summed(torch.cat([counted * x.sum(0), here]), self.collectives)
        number = sums[-1].detach()
        mean = sums[:-1] / number.clamp(min=1)
        squares = counted * (x - mean).square().sum(0)
        variance = summed(squares, self.collectives) / number.clamp(min=1)
        mean = torch.where(number > 1, mean, self.running_mean)
        variance = torch.where(number > 1, variance, self.running_variance)
        scale = self.weight.float() * (variance + EPSILON).rsqrt()
        return (x - mean) * scale + self.bias.float()

    @torch.no_grad()
    def conclude(self) -> None:
        """Take the rows of a step into the running means, as torch's batch norm does."""
        if self._moments is None:
            return
        number, values, squares = self.collectives.all_reduce_sum(self._moments)
        self._moments = None
        mean = values / number
        variance = (squares - number * mean.square()) / (number - 1)
        if bool(number[0] > 1):
            self.running_mean.lerp_(mean.float(), MOMENTUM)
            self.running_variance.lerp_(variance.float(), MOMENTUM)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """Apply a change of device or precision; of precision not to the running means."""
        super()._apply(fn, recurse)
        self.running_mean = self.running_mean.float()
        self.running_variance = self.running_variance.float()
        return self


def _moments_of(x: Tensor) -> Tensor:
    """Return (3, C) float64: the number of rows x (N, C), the sums of values and of squares."""
    double = x.double()
    number = torch.full_like(double[:1].sum(0), len(x))
    return torch.stack([number, double.sum(0), double.square().sum(0)])


class LayerNorm(nn.LayerNorm):
    """LayerNorm of rows in any precision."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed rows (N, C), in the precision of the weights."""
        return super().forward(x.to(self.weight.dtype))


def norm_of(kind: Norm, channels: int) -> nn.Module:
    """Return a norm of so many channels, with as many parameters in both kinds."""
    return BatchNorm(channels) if kind == "batch" else LayerNorm(channels)
