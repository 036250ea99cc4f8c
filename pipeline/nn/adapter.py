"""From the layers of a backbone to what a head computes on.

Axes: B events · L points of the largest event, or layers · P points, packed · Q queries · W width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.families import Family


class Attention(nn.Module):
    """Multi-head attention with an additive bias, normalised after the residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_query = nn.Linear(width, width)
        self.to_key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, queries: Tensor, source: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the queries (B, Q, W) after they looked at `source` (B, L, W)."""
        q = self.to_query(queries).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.to_key_value(source).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        seen = functional.scaled_dot_product_attention(
            q, k.transpose(1, 2), v.transpose(1, 2), attn_mask=bias
        )
        normed: Tensor = self.norm(queries + self.out(seen.transpose(1, 2).flatten(2)))
        return normed


class FeedForward(nn.Module):
    """Two linear layers with GELU, normalised after the residual."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return x after the layer, of the same shape."""
        normed: Tensor = self.norm(x + self.net(x))
        return normed


class Adapter(nn.Module):
    """The backbone's layers, averaged with learned softmax weights and brought to the head."""

    def __init__(self, model: Family, width: int) -> None:
        super().__init__()
        layers, hidden = model.hidden
        self.weights = nn.Parameter(torch.zeros(max(1, layers)))  # of none, the embedding is left
        self.norm = nn.LayerNorm(hidden)
        self.project = nn.Linear(hidden, width)
        self.feed_forward = FeedForward(width, 2 * width)

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Return the points' features (P, W) from the backbone's L outputs."""
        weights = self.weights.softmax(0)
        combined = torch.stack([w * x for w, x in zip(weights, layers, strict=True)]).sum(0)
        features: Tensor = self.feed_forward(self.project(self.norm(combined)))
        return features
