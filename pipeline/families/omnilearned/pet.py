"""The layers of PET v2: norms that squash, feed-forwards, attention with a bias, local attention.

Bhimji et al., arXiv:2510.24066. Numbers and shapes of the weights are those of the published sizes;
where a sum does not say which of two layers stands first, that is ours, and said. Axes: P points of
all events, packed · B events · T tokens of an event · E edges from near points · W width · H heads
· K features of a pair.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.families.omnilearned.spec import RATIO
from pipeline.nn.attention import Bias, Lengths, attend, single_query_attention
from pipeline.nn.batch import Batch

SLOPE = 1.0  # α as it is at first
GAIN = 2.0  # of what GELU has halved


def linear(inputs: int, outputs: int, *, bias: bool = False, gain: float = 1.0) -> nn.Linear:
    """Return a linear layer that gives inputs of size 1 outputs of size `gain`.

    Nothing here is normalised, so what begins small stays small, and is learned slowly.
    """
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(layer.weight, std=gain * inputs**-0.5)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class DynamicTanh(nn.Module):
    """γ tanh(α x): in place of a norm, without statistics (Zhu et al., arXiv:2503.10622).

    One α for all channels, a γ for each, and no shift, which the published counts leave no room
    for: what is zero stays zero.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), SLOPE))
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., W) of x (..., W)."""
        return self.gamma * torch.tanh(self.alpha * x)


class Perceptron(nn.Module):
    """A linear layer, GELU and one more; the inner channels squashed before GELU."""

    def __init__(
        self,
        inputs: int,
        inner: int,
        outputs: int,
        *,
        norm: bool = True,
        bias: bool = True,
        gain: float = GAIN,
    ) -> None:
        super().__init__()
        self.up = linear(inputs, inner, bias=bias)
        self.norm = DynamicTanh(inner) if norm else nn.Identity()
        self.down = linear(inner, outputs, bias=bias, gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., outputs) of x (..., inputs)."""
        y: Tensor = self.down(functional.gelu(self.norm(self.up(x.to(self.up.weight.dtype)))))
        return y


class NoScaleDropout(nn.Module):
    """Dropout that leaves the rest as it is: what is seen in training is less than in use."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Return x with a share of its values zero, in training."""
        if not self.training or not self.share:
            return x
        return x * (torch.rand_like(x) >= self.share)


class Attention(nn.Module):
    """Multi-head attention without biases of its layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = linear(width, width)
        self.key_value = linear(width, 2 * width)
        self.out = linear(width, width)

    def forward(self, x: Tensor, lengths: Lengths, bias: Bias | None = None) -> Tensor:
        """Return (P, W) of x (P, W)."""
        query = self.query(x).unflatten(1, (self.heads, -1))
        key, value = self.key_value(x).unflatten(1, (2, self.heads, -1)).unbind(1)
        y: Tensor = self.out(attend(query, key, value, lengths, bias=bias).flatten(1))
        return y


class Block(nn.Module):
    """Attention and feed-forward, each of what was squashed, and added to what was not."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.feed_forward = Perceptron(width, RATIO * width, width)
        self.norms = nn.ModuleList(DynamicTanh(width) for _ in range(2))
        self.dropout = NoScaleDropout(dropout)

    def forward(self, x: Tensor, lengths: Lengths, bias: Bias | None = None) -> Tensor:
        """Return (P, W) of x (P, W)."""
        before, after = self.norms
        x = x + self.dropout(self.attention(before(x), lengths, bias))
        fed: Tensor = self.dropout(self.feed_forward(after(x)))
        return x + fed


@dataclass(frozen=True)
class Layout:
    """Where things stand once T tokens are put before the points of each event.

    offsets (B + 1) of the longer events; rows of the `tokens` (B, T) and of the `points` (P).
    """

    offsets: Tensor
    tokens: Tensor
    points: Tensor

    @classmethod
    def of(cls, batch: Batch, tokens: int) -> "Layout":
        """Return the layout of `batch` with so many `tokens` to an event."""
        device = batch.offsets.device
        offsets = batch.offsets + tokens * torch.arange(len(batch.offsets), device=device)
        rows = offsets[:-1].unsqueeze(1) + torch.arange(tokens, device=device)
        points = torch.arange(len(batch.points), device=device) + tokens * (batch.event + 1)
        return cls(offsets, rows, points)

    def packed(self, tokens: Tensor, points: Tensor) -> Tensor:
        """Return tokens (B, T, W) and points (P, W) as they stand, (P + B T, W)."""
        empty = points.new_empty(len(self.points) + self.tokens.numel(), points.shape[1])
        filled = empty.index_copy(0, self.points, points)
        return filled.index_copy(0, self.tokens.flatten(), tokens.flatten(0, 1))


class TokenBlock(nn.Module):
    """The tokens of an event look at themselves and at its points, which stay as they are.

    As in Touvron et al., arXiv:2103.17239, §3. One norm: of what is looked at.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.feed_forward = Perceptron(width, RATIO * width, width)
        self.norm = DynamicTanh(width)
        self.dropout = NoScaleDropout(dropout)

    def forward(self, tokens: Tensor, points: Tensor, layout: "Layout") -> Tensor:
        """Return the tokens (B, T, W), given points (P, W)."""
        number, heads = tokens.shape[1], self.attention.heads
        seen = self.norm(layout.packed(tokens, points))
        query = self.attention.query(seen[layout.tokens]).unflatten(2, (heads, -1)).flatten(1, 2)
        key, value = self.attention.key_value(seen).unflatten(1, (2, heads, -1)).unbind(1)
        # Each token looks by heads of its own, as if there were one token of T times as many.
        key, value = (each.repeat(1, number, 1) for each in (key, value))
        y = (
            single_query_attention(query, key, value, layout.offsets)
            .unflatten(1, (number, heads))
            .flatten(2)
        )
        tokens = tokens + self.dropout(self.attention.out(y))
        fed: Tensor = self.dropout(self.feed_forward(tokens))
        return tokens + fed


class LocalAttention(nn.Module):
    """What each point receives from those near it, which attend to each other: their mean.

    An edge is described by how its near point differs from the point itself, and by the
    features of the pair.
    """

    def __init__(self, inputs: int, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.entry = Perceptron(inputs, RATIO * width, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))

    def forward(self, edges: Tensor, described: Tensor, points: int) -> Tensor:
        """Return (P, W), zero of a point that is alone.

        edges: (2, E) near point and point, sorted by the point; described: (E, inputs).
        """
        counts = edges[1].bincount(minlength=points)
        x = self.entry(described)
        if len(x):
            cuts = functional.pad(counts[counts > 0].cumsum(0), (1, 0))
            lengths = Lengths.of(cuts)
            for block in self.blocks:
                x = block(x, lengths)
        total = x.new_zeros(points, x.shape[1]).index_add(0, edges[1], x)
        return total / counts.clamp(min=1).unsqueeze(1)
