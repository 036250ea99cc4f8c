"""The layers of PET v2: norms that squash, feed-forwards, attention with a bias, local attention.

Bhimji et al., arXiv:2510.24066, as ViniciusMikuni/OmniLearned at 922355d computes it. Initial
values are theirs: linear layers Xavier uniform without biases, those of query, key and value as
one. Axes: P points of all events, packed · B events · N what stands before the points of an event
· T tokens of an event · E edges from near points · W width · H heads.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.families.omnilearned.spec import OmniLearned
from pipeline.nn.attention import Bias, attend, single_query_attention
from pipeline.nn.batch import Batch
from pipeline.nn.lengths import Lengths
from pipeline.nn.neighbours import Edges

SLOPE = 0.5  # α as it is at first


def linear(inputs: int, outputs: int, *, bias: bool = False) -> nn.Linear:
    """Return a linear layer, Xavier uniform, whose biases are 0 at first."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class DynamicTanh(nn.Module):
    """γ tanh(α x): in place of a norm, without statistics (Zhu et al., arXiv:2503.10622).

    One α for all channels, a γ for each, and no shift: what is zero stays zero.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), SLOPE))
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., W) of x (..., W)."""
        return self.gamma * torch.tanh(self.alpha * x)


class Perceptron(nn.Module):
    """A linear layer, GELU, a norm of the inner channels if there is one, a linear layer."""

    def __init__(
        self, inputs: int, inner: int, outputs: int, *, norm: bool = True, bias: bool = True
    ) -> None:
        super().__init__()
        self.up = linear(inputs, inner, bias=bias)
        self.norm = DynamicTanh(inner) if norm else nn.Identity()
        self.down = linear(inner, outputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., outputs) of x (..., inputs)."""
        y: Tensor = self.down(self.norm(functional.gelu(self.up(x.to(self.up.weight.dtype)))))
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
        self.qkv, self.out = linear(width, 3 * width), linear(width, width)

    def forward(self, x: Tensor, lengths: Lengths, bias: Bias | None = None) -> Tensor:
        """Return (P, W) of x (P, W)."""
        q, k, v = self.qkv(x).unflatten(1, (3, self.heads, -1)).unbind(1)
        y: Tensor = self.out(attend(q, k, v, lengths, bias=bias).flatten(1))
        return y

    def of_tokens(self, tokens: Tensor, others: Tensor, lengths: Lengths) -> Tensor:
        """Return (B, T, W): what tokens (B, T, W) read from `others` of their event.

        Tokens do not see each other.
        """
        number, width = tokens.shape[1:]
        weight = self.qkv.weight
        q = functional.linear(tokens, weight[:width]).unflatten(2, (self.heads, -1)).flatten(1, 2)
        both = functional.linear(others, weight[width:]).unflatten(1, (2, self.heads, -1))
        # Each token has heads of its own, as if there were one token of T times as many.
        k, v = (each.repeat(1, number, 1) for each in both.unbind(1))
        seen = single_query_attention(q, k, v, lengths).unflatten(1, (number, self.heads))
        y: Tensor = self.out(seen.flatten(2))
        return y


class Block(nn.Module):
    """Attention and feed-forward, each of what was normalised, and added to what was not."""

    def __init__(self, model: OmniLearned) -> None:
        super().__init__()
        width = model.width
        self.attention = Attention(width, model.heads)
        self.feed_forward = Perceptron(width, model.ratio * width, width)
        self.norms = nn.ModuleList(DynamicTanh(width) for _ in range(2))
        self.dropout = NoScaleDropout(model.dropout)

    def forward(self, x: Tensor, lengths: Lengths, bias: Bias | None = None) -> Tensor:
        """Return (P, W) of x (P, W)."""
        before, after = self.norms
        x = x + self.dropout(self.attention(before(x), lengths, bias))
        fed: Tensor = self.dropout(self.feed_forward(after(x)))
        return x + fed


@dataclass(frozen=True)
class Layout:
    """Where things stand once N others are put before the points of each event.

    `lengths` of the longer events; rows of the others `before` (B, N) and of `points` (P).
    """

    lengths: Lengths
    before: Tensor
    points: Tensor

    @classmethod
    def of(cls, batch: Batch, number: int) -> "Layout":
        """Return the layout of `batch` with such a `number` of others before the points."""
        device, lengths = batch.offsets.device, batch.lengths.longer(number)
        rows = lengths.offsets[:-1].unsqueeze(1) + torch.arange(number, device=device)
        points = torch.arange(batch.lengths.tokens, device=device) + number * (batch.event + 1)
        return cls(lengths, rows, points)

    def packed(self, before: Tensor, points: Tensor) -> Tensor:
        """Return others (B, N, W) and points (P, W) as they stand, (P + B N, W)."""
        empty = points.new_empty(self.lengths.tokens, points.shape[1])
        filled = empty.index_copy(0, self.points, points)
        return filled.index_copy(0, self.before.flatten(), before.flatten(0, 1).to(points.dtype))


class TokenBlock(nn.Module):
    """The tokens of an event read from what else there is, which stays as it is.

    Neither is normalised before the attention, the tokens are before the feed-forward.
    """

    def __init__(self, model: OmniLearned) -> None:
        super().__init__()
        width = model.width
        self.attention = Attention(width, model.heads)
        self.feed_forward = Perceptron(width, model.ratio * width, width)
        self.norm = DynamicTanh(width)
        self.dropout = NoScaleDropout(model.dropout)

    def forward(self, tokens: Tensor, others: Tensor, lengths: Lengths) -> Tensor:
        """Return the tokens (B, T, W), given others, of which there are `lengths` in an event."""
        tokens = tokens + self.dropout(self.attention.of_tokens(tokens, others, lengths))
        fed: Tensor = self.dropout(self.feed_forward(self.norm(tokens)))
        return tokens + fed


class LocalAttention(nn.Module):
    """What each point receives from those near it, which attend to each other: their mean.

    An edge is described by how the point itself differs from the near one, and by the features of
    the pair.
    """

    def __init__(self, model: OmniLearned) -> None:
        super().__init__()
        inputs, width = len(model.columns) + model.pair_features, model.width
        self.entry = Perceptron(inputs, model.ratio * width, width)
        self.blocks = nn.ModuleList(Block(model) for _ in range(model.head_layers))

    def forward(self, described: Tensor, edges: Edges) -> Tensor:
        """Return (P, W) of edges described (E, inputs); zero of a point that is alone."""
        x = self.entry(described)
        for block in self.blocks:
            x = block(x, edges.lengths)
        return edges.mean(x).masked_fill(edges.alone.unsqueeze(1), 0.0)


class Fourier(nn.Module):
    """√2 t cos(f t + φ) of times t: zero at time 0. Frequencies and phases stay as drawn.

    Random features of Tancik et al., arXiv:2006.10739, times t: f is 2π times a normal number, φ
    uniform from 0 to 2π.
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2 * torch.pi * torch.randn(width))
        self.register_buffer("phases", 2 * torch.pi * torch.rand(width))

    def forward(self, time: Tensor) -> Tensor:
        """Return (B, W) of times (B)."""
        time = time.float().unsqueeze(1)
        return 2**0.5 * time * torch.cos(self.frequencies * time + self.phases)
