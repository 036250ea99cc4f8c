"""The track-finding head: learned queries, each of which claims the points of one track.

Mask classification as FM4NPP uses it downstream (arXiv 2508.14087), after MaskFormer
(arXiv 2107.06278) and its masked attention (arXiv 2112.01527).

Axes: B events · L points of the largest event · P points, packed · Q queries · W width · K heads.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.downstream.tracks.spec import TrackTask
from pipeline.families import Family
from pipeline.nn.adapter import Adapter, Attention, FeedForward
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden

NO_MASK = -1e4

# What a query may claim: the points of one track, all noise of the event, or nothing.
TRACK, NOISE, NOTHING = range(3)


@dataclass(frozen=True)
class Tracks:
    """Masks and classes of a batch after each refinement; the last entry is the prediction.

    masks: logits (B, Q, L) that point l belongs to query q; classes: logits (B, Q, 3) of
    `TRACK`, `NOISE` and `NOTHING`; real: which of the L places hold a point (B, L).
    """

    masks: list[Tensor]
    classes: list[Tensor]
    real: Tensor


class Refinement(nn.Module):
    """One round: queries attend to the points they claim and to each other, then a feed-forward."""

    def __init__(self, task: TrackTask) -> None:
        super().__init__()
        self.cross = Attention(task.width, task.heads)
        self.among = Attention(task.width, task.heads)
        self.feed_forward = FeedForward(task.width, 2 * task.width)

    def forward(self, queries: Tensor, points: Tensor, bias: Tensor) -> Tensor:
        """Return the refined queries (B, Q, W)."""
        queries = self.cross(queries, points, bias)
        refined: Tensor = self.feed_forward(self.among(queries, queries))
        return refined


class TrackFinder(nn.Module):
    """The track-finding head, on the points that a backbone has seen."""

    def __init__(self, model: Family, task: TrackTask) -> None:
        super().__init__()
        self.adapter = Adapter(model, task.width)
        self.queries = nn.Parameter(torch.randn(task.queries, task.width))
        self.rounds = nn.ModuleList(Refinement(task) for _ in range(task.layers))
        width = task.width
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
    most, which = (each[batch.event, batch.index_in_event] for each in claims.max(1))
    is_track = classes[..., TRACK] >= classes[..., NOISE]
    return torch.where(is_track[batch.event, which], which + 1, 0), most
