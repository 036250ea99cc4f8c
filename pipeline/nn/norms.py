"""Norms of packed rows: batch norm as jets' networks have it, or LayerNorm in its place.

Axes: N rows (particles, pairs or edges of all events, packed) · C channels.
"""

from collections.abc import Callable
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

MOMENTUM = 0.1
Norm = Literal["batch", "layer"]


class BatchNorm(nn.Module):
    """(x - mean) / √(variance + ε) · weight + bias over rows (Ioffe, Szegedy, arXiv:1502.03167).

    Of all rows in training, if there are two or more; of the running means otherwise, and where the
    weights are frozen: what a frozen backbone has learned stays what it was. The running means are
    of the rows that one process sees, a checkpoint's those of the first; a block that is computed
    again on the way back takes them in twice. They are in single precision whatever the weights
    have, and so is all that is computed.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_variance", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed rows (N, C), in the precision of the weights."""
        learns = self.training and self.weight.requires_grad and len(x) > 1
        normed = functional.batch_norm(
            x.float(),
            self.running_mean,
            self.running_variance,
            self.weight.float(),
            self.bias.float(),
            training=learns,
            momentum=MOMENTUM,
        )
        return normed.to(self.weight.dtype)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """Apply a change of device or precision; of precision not to the running means."""
        super()._apply(fn, recurse)
        self.running_mean = self.running_mean.float()
        self.running_variance = self.running_variance.float()
        return self


class LayerNorm(nn.LayerNorm):
    """LayerNorm of rows in any precision."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed rows (N, C), in the precision of the weights."""
        return super().forward(x.to(self.weight.dtype))


def norm_of(kind: Norm, channels: int) -> nn.Module:
    """Return a norm of so many channels, with as many parameters in both kinds."""
    return BatchNorm(channels) if kind == "batch" else LayerNorm(channels)
