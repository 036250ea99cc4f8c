"""The transformer block that the families share, over packed events.

Axes: P tokens of all events of a batch, packed · W width · M inner channels of a feed-forward
· H heads · D channels of a head.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nn.attention import Bias, attend
from pipeline.nn.lengths import Lengths


@dataclass(frozen=True)
class Style:
    """What the families' blocks differ in.

    norm: where LayerNorm stands, for each of the two residual branches f:
        pre: x + s·f(norm(x)) · post: norm(x + s·f(x)), as in arXiv 1706.03762
        · normformer: pre, and one more on what attention returns (arXiv 2110.09456, §2).
    activation: swiglu is silu(gate) · up, with a third matrix (arXiv 2002.05202, eq. 6).
    residual: s, the scale of a branch; CompleteP takes 1 over the depth's multiple (arXiv
        2505.01618).
    layer_scale: what a learnt factor of each channel of a branch begins with (arXiv 2103.17239,
        eq. 10); 0 for none.
    dropout: on each branch.
    dropout_inside: of the weights of attention, and of the inner channels of the feed-forward.
    initial: what the maps of attention begin with:
        linear: as torch's Linear does · multihead: as its MultiheadAttention does, queries, keys
        and values together by Xavier's uniform law (Glorot, Bengio, 2010, eq. 16), biases at 0.
    """

    width: int
    heads: int
    inner: int
    norm: Literal["pre", "post", "normformer"] = "pre"
    activation: Literal["relu", "gelu", "silu", "swiglu"] = "gelu"
    bias_qkv: bool = True
    bias_out: bool = True
    bias_feed_forward: bool = True
    residual: float = 1.0
    layer_scale: float = 0.0
    dropout: float = 0.0
    dropout_inside: float = 0.0
    initial: Literal["linear", "multihead"] = "linear"

    def __post_init__(self) -> None:
        """Refuse a width that the heads cannot share."""
        if self.width % self.heads:
            message = f"width {self.width} is not a multiple of heads {self.heads}: change either."
            raise ValueError(message)


class SelfAttention(nn.Module):
    """Multi-head attention of each event's tokens among themselves."""

    def __init__(self, style: Style) -> None:
        super().__init__()
        self.heads = style.heads
        self.qkv = nn.Linear(style.width, 3 * style.width, bias=style.bias_qkv)
        self.out = nn.Linear(style.width, style.width, bias=style.bias_out)
        self.dropout = style.dropout_inside
        if style.initial == "multihead":
            nn.init.xavier_uniform_(self.qkv.weight)
            for bias in (self.qkv.bias, self.out.bias):
                if bias is not None:
                    nn.init.zeros_(bias)

    def forward(
        self,
        x: Tensor,
        lengths: Lengths,
        *,
        causal: bool = False,
        hidden_P: Tensor | None = None,
        bias: Bias | None = None,
    ) -> Tensor:
        """Return (P, W) of x (P, W); `causal`, `hidden_P` and `bias` as `attend` takes them."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)
        dropout = self.dropout if self.training else 0.0
        seen = attend(
            q, k, v, lengths, causal=causal, hidden_P=hidden_P, bias=bias, dropout=dropout
        )
        y: Tensor = self.out(seen.flatten(1))
        return y


class FeedForward(nn.Module):
    """W to M channels, an activation, and back: the same for every token."""

    def __init__(self, style: Style) -> None:
        super().__init__()
        self.activation = style.activation
        parts = 2 if style.activation == "swiglu" else 1
        self.up = nn.Linear(style.width, parts * style.inner, bias=style.bias_feed_forward)
        self.down = nn.Linear(style.inner, style.width, bias=style.bias_feed_forward)
        self.dropout = nn.Dropout(style.dropout_inside)

    def forward(self, x: Tensor) -> Tensor:
        """Return (P, W) of x (P, W)."""
        y: Tensor = self.down(self.dropout(self._activate(self.up(x))))
        return y

    def _activate(self, x: Tensor) -> Tensor:
        if self.activation == "swiglu":
            gate, up = x.chunk(2, dim=-1)
            return functional.silu(gate) * up
        activated: Tensor = getattr(functional, self.activation)(x)
        return activated


class Block(nn.Module):
    """Attention and feed-forward, each added to what it was given."""

    def __init__(self, style: Style) -> None:
        super().__init__()
        self.style = style
        self.residual_scale = style.residual
        self.attention = SelfAttention(style)
        self.feed_forward = FeedForward(style)
        self.norms = nn.ModuleList(nn.LayerNorm(style.width) for _ in range(2))
        if style.norm == "normformer":
            self.norm_attended = nn.LayerNorm(style.width)
        if style.layer_scale:
            first = torch.full((style.width,), style.layer_scale)
            self.scales = nn.ParameterList(nn.Parameter(first.clone()) for _ in range(2))
        self.dropout = nn.Dropout(style.dropout)

    def forward(
        self,
        x: Tensor,
        lengths: Lengths,
        *,
        causal: bool = False,
        hidden_P: Tensor | None = None,
        bias: Bias | None = None,
    ) -> Tensor:
        """Return the tokens (P, W) after the block; the rest is as `attend` takes it."""
        before, after = self.norms
        post = self.style.norm == "post"
        given = x if post else before(x)
        y = self.attention(given, lengths, causal=causal, hidden_P=hidden_P, bias=bias)
        if self.style.norm == "normformer":
            y = self.norm_attended(y)
        x = self._add(x, y, 0)
        if post:
            x = before(x)
            return after(self._add(x, self.feed_forward(x), 1))
        return self._add(x, self.feed_forward(after(x)), 1)

    def _add(self, x: Tensor, y: Tensor, branch: int) -> Tensor:
        """Return x + s · dropout(y), y times what its branch has learnt."""
        if self.style.layer_scale:
            y = self.scales[branch] * y
        return torch.add(x, self.dropout(y), alpha=self.residual_scale)
