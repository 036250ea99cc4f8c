"""The track-finding head: learned queries, each of which claims the points of one track.

Mask classification as FM4NPP uses it downstream (arXiv 2508.14087), after MaskFormer
(arXiv 2107.06278) and its masked attention (arXiv 2112.01527).

Axes: B events · L points of the largest event · P points, packed · Q queries · W width · K heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.families import Family
from pipeline.heads import TrackHead
from pipeline.training.batch import Batch
from pipeline.training.downstream import Hidden

NO_MASK = -1e4

# What a query may claim: the points of one track, all noise of the event, or nothing.
TRACK, NOISE, NOTHING = range(3)


@dataclass(frozen=True)
class Tracks:
    """What the head says of a batch, after each refinement (the last entry is the answer).

    masks: logits (B, Q, L) that point l belongs to query q; classes: logits (B, Q, 3) of
    `TRACK`, `NOISE` and `NOTHING`; real: which of the L places hold a point (B, L).
    """

    masks: list[Tensor]
    classes: list[Tensor]
    real: Tensor


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


class Refinement(nn.Module):
    """One round: queries look at the points they claim, at each other, and think."""

    def __init__(self, head: TrackHead) -> None:
        super().__init__()
        self.cross = Attention(head.width, head.heads)
        self.among = Attention(head.width, head.heads)
        self.feed_forward = FeedForward(head.width, 2 * head.width)

    def forward(self, queries: Tensor, points: Tensor, bias: Tensor) -> Tensor:
        """Return the refined queries (B, Q, W)."""
        queries = self.cross(queries, points, bias)
        refined: Tensor = self.feed_forward(self.among(queries, queries))
        return refined


class TrackFinder(nn.Module):
    """The track-finding head, on the points that a backbone has seen."""

    def __init__(self, model: Family, head: TrackHead) -> None:
        super().__init__()
        self.adapter = Adapter(model, head.width)
        self.queries = nn.Parameter(torch.randn(head.queries, head.width))
        self.rounds = nn.ModuleList(Refinement(head) for _ in range(head.layers))
        width = head.width
        self.classify = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))
        self.mask = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, hidden: Hidden, batch: Batch) -> Tracks:
        """Return masks and classes of every query after each round, the untouched ones first."""
        points, real = batch.padded(self.adapter(hidden.points))
        queries = self.queries.expand(len(points), -1, -1)
        masks, classes = [self._masks(queries, points, real)], [self.classify(queries)]
        for refine in self.rounds:
            bias = functional.logsigmoid(masks[-1].detach()).clamp(min=NO_MASK).unsqueeze(1)
            queries = refine(queries, points, bias.to(queries.dtype))
            masks.append(self._masks(queries, points, real))
            classes.append(self.classify(queries))
        return Tracks(masks, classes, real)

    def _masks(self, queries: Tensor, points: Tensor, real: Tensor) -> Tensor:
        """Return the mask logits (B, Q, L); places without a point belong to nobody."""
        logits: Tensor = self.mask(queries) @ points.transpose(1, 2)
        return logits.masked_fill(~real.unsqueeze(1), NO_MASK)


def assign(tracks: Tracks, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the found track of each point (P), and the claim on it (P) that won.

    Tracks are counted from 1 in their event; 0 is noise.

    A point goes to the query with the largest mask probability × probability to claim anything:
    of the two assignments that FM4NPP compares, the one it recommends. What goes to a query that
    claims noise is noise.
    """
    classes = tracks.classes[-1].float().softmax(-1)
    claims = tracks.masks[-1].float().sigmoid() * (1 - classes[..., NOTHING:])
    most, which = (each[batch.event, batch.place] for each in claims.max(1))
    is_track = classes[..., TRACK] >= classes[..., NOISE]
    return torch.where(is_track[batch.event, which], which + 1, 0), most
