"""From the layers of a backbone to what a head computes on.

Axes: L layers · P points, packed · W width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.families import Family


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
