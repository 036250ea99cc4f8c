"""What masked particle modelling and its VQ-VAE are made of.

Published function of github.com/rodem-hep/mpm at c6ba855 (MIT), from its equations. Axes: P
constituents of all jets of a batch, packed · F inputs · M inner channels · W width · C outputs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nn.attention import attend
from pipeline.nn.collectives import Collective
from pipeline.nn.lengths import Lengths

SLOPE = 0.1  # of the activation below zero
SMALLEST = 1e-8  # added to a deviation that is divided by


@dataclass(frozen=True)
class Shape:
    """How large an encoder is; `dropout` is of the weights of attention."""

    width: int
    inner: int
    heads: int
    layers: int
    dropout: float = 0.0


class Dense(nn.Module):
    """linear(norm(act(linear(x)))): the norm stands behind the activation, or is left out."""

    def __init__(self, inputs: int, inner: int, outputs: int, *, norm: bool = True) -> None:
        super().__init__()
        self.up = nn.Linear(inputs, inner)
        self.norm = nn.LayerNorm(inner) if norm else nn.Identity()
        self.down = nn.Linear(inner, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (P, C) of x (P, F)."""
        y: Tensor = self.down(self.norm(functional.leaky_relu(self.up(x), SLOPE)))
        return y


class Attention(nn.Module):
    """Multi-head attention with a norm of the joined heads before the last linear layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.dropout = shape.heads, shape.dropout
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.norm = nn.LayerNorm(shape.width)
        self.out = nn.Linear(shape.width, shape.width)

    def forward(self, x: Tensor, lengths: Lengths) -> Tensor:
        """Return (P, W) of x (P, W)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)
        attended = attend(q, k, v, lengths, dropout=self.dropout if self.training else 0.0)
        y: Tensor = self.out(self.norm(attended.flatten(1)))
        return y


class Block(nn.Module):
    """x + attention(norm(x)), then x + dense(norm(x)); both branches begin at zero."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = Attention(shape)
        self.dense = Dense(shape.width, shape.inner, shape.width)
        self.norms = nn.ModuleList(nn.LayerNorm(shape.width) for _ in range(2))
        for last in (self.attention.out, self.dense.down):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, lengths: Lengths) -> Tensor:
        """Return (P, W) of x (P, W)."""
        before, after = self.norms
        x = x + self.attention(before(x), lengths)
        y: Tensor = x + self.dense(after(x))
        return y


class Trunk(nn.Module):
    """An encoder without its output network: embedding, blocks and a last norm."""

    def __init__(self, inputs: int, shape: Shape) -> None:
        super().__init__()
        self.entry = Dense(inputs, shape.inner, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)

    def forward(self, x: Tensor, lengths: Lengths) -> Tensor:
        """Return (P, W) of x (P, F); without blocks, what is embedded."""
        x = self.entry(x.to(self.norm.weight.dtype))
        for block in self.blocks:
            x = block(x, lengths)
        return self.norm(x) if len(self.blocks) else x


class Encoder(nn.Module):
    """A trunk and its output network, of which `norm` says whether it has one."""

    def __init__(self, inputs: int, shape: Shape, outputs: int, *, norm: bool = True) -> None:
        super().__init__()
        self.trunk = Trunk(inputs, shape)
        self.exit = Dense(shape.width, shape.inner, outputs, norm=norm)

    def forward(self, x: Tensor, lengths: Lengths) -> Tensor:
        """Return (P, C) of x (P, F)."""
        y: Tensor = self.exit(self.trunk(x, lengths))
        return y


class Normaliser(Collective):
    """(x - mean) / (√variance + 1e-8), of the constituents of all processes so far.

    `learn` takes in constituents until there were `limit` of them; from then on `frozen` is true
    and nothing changes. Before any, x stays as it is; summed `squares` begin at 1. In single
    precision whatever the weights have, and without gradients.
    """

    mean: Tensor
    variance: Tensor
    squares: Tensor
    points: Tensor
    frozen: Tensor

    def __init__(self, inputs: int, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("variance", torch.ones(inputs))
        self.register_buffer("squares", torch.ones(inputs))
        self.register_buffer("points", torch.zeros((), dtype=torch.int64))
        self.register_buffer("frozen", torch.tensor(data=False))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return x (P, F) normalised."""
        return (x.float() - self.mean) / self._deviation

    @torch.no_grad()
    def inverse(self, x: Tensor) -> Tensor:
        """Return what has been normalised to x (P, F)."""
        return x.float() * self._deviation + self.mean

    @property
    def _deviation(self) -> Tensor:
        return self.variance.sqrt() + SMALLEST

    @property
    def is_frozen(self) -> bool:
        """Whether it takes in no more."""
        return self.is_set("frozen")

    @torch.no_grad()
    def learn(self, x: Tensor) -> None:
        """Take in constituents x (P, F): means and squares of two samples made those of both.

        Chan, Golub, LeVeque, Technical Report STAN-CS-79-773, eq. 2.1.
        """
        if self.is_frozen:
            return
        add, x = self.collectives.all_reduce_sum, x.double()
        count = add(x.new_tensor([len(x)]))
        mean = add(x.sum(0)) / count
        squares = add((x - mean).square().sum(0))
        before, away = self.points.double(), mean - self.mean
        total = before + count
        squares = self.squares + squares + away.square() * before * count / total
        self.mean.copy_(self.mean + away * count / total)
        self.squares.copy_(squares)
        self.variance.copy_(squares / total)
        self.points += count.long().squeeze(0)
        self.frozen.copy_(self.points >= self.limit)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """Apply a change of device or precision; of precision not to what is learnt here."""
        super()._apply(fn, recurse)
        for name in ("mean", "variance", "squares"):
            setattr(self, name, getattr(self, name).float())
        return self
