"""The track-finding head: learned queries, each of which claims the points of one track.

FM4NPP's head (arXiv 2508.14087; train/downstream/model.py of github.com/FM4NPP/PP_collision at
0a0a17c), after MaskFormer (arXiv 2107.06278) and its masked attention (arXiv 2112.01527).

Axes: B events · L points of the largest event · P points, packed · Q queries · W width · K heads ·
C classes of a query, 2 or 3.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.downstream.tracks.spec import Assignment, TrackTask
from pipeline.families import Family
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden
from pipeline.nn.mamba import RMSNorm

NO_MASK = -1e4  # the logit of a place without a point
NO_ATTENTION = -1e9
EPSILON = 1e-6  # of probabilities whose logarithm is taken

# What a query may claim: nothing, the points of one track, or (with `noise = "class"`) noise.
NOTHING, TRACK, NOISE = range(3)


@dataclass(frozen=True)
class Tracks:
    """Masks and classes of a batch after each refinement; the last entry is the prediction.

    masks: logits (B, Q, L) that point l belongs to query q; classes: logits (B, Q, C) of `NOTHING`,
    `TRACK` and, where it is a class, `NOISE`; real: which of the L places hold a point (B, L).
    """

    masks: list[Tensor]
    classes: list[Tensor]
    real: Tensor


class MLP(nn.Sequential):
    """LayerNorm, linear, GELU, linear."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, outputs)
        )


class Refinement(nn.Module):
    """One round: queries attend to the points they claim and to each other, then a feed-forward.

    Norms stand before each part, and not on the points. The place of a query is added to the
    stream itself, in each round again.
    """

    def __init__(self, task: TrackTask) -> None:
        super().__init__()
        width = task.width
        self.heads = task.heads
        self.norm_cross, self.norm_among, self.norm_inner = (nn.LayerNorm(width) for _ in range(3))
        self.cross = nn.MultiheadAttention(width, task.heads, batch_first=True)
        self.among = nn.MultiheadAttention(width, task.heads, batch_first=True)
        self.inner = nn.Sequential(
            nn.Linear(width, task.inner), nn.GELU(), nn.Linear(task.inner, width)
        )

    def forward(self, queries: Tensor, places: Tensor, points: Tensor, bias: Tensor) -> Tensor:
        """Return the refined queries (B, Q, W); `bias` is (B, Q, L), the same for all heads."""
        queries = queries + places
        of_heads = bias.repeat_interleave(self.heads, 0)
        normed = self.norm_cross(queries)
        queries = (
            queries + self.cross(normed, points, points, attn_mask=of_heads, need_weights=False)[0]
        )
        normed = self.norm_among(queries)
        queries = queries + self.among(normed, normed, normed, need_weights=False)[0]
        refined: Tensor = queries + self.inner(self.norm_inner(queries))
        return refined


class TrackFinder(nn.Module):
    """The track-finding head, on what the layers of a backbone make of the points.

    Biases start at zero, as in the authors' trainer.
    """

    def __init__(self, model: Family, task: TrackTask) -> None:
        super().__init__()
        layers, hidden = model.hidden
        width = task.width
        self.weights = nn.Parameter(torch.ones(max(1, layers)))  # of none, the embedding is left
        self.norm_states = nn.LayerNorm(hidden)
        self.project = nn.Linear(hidden, width)
        self.norm_points = RMSNorm(width)
        self.points = MLP(width, width)
        self.queries = nn.Parameter(torch.randn(task.queries, width))
        self.places = nn.Parameter(torch.randn(task.queries, width))
        self.rounds = nn.ModuleList(Refinement(task) for _ in range(task.layers))
        self.classify = MLP(width, 3 if task.noise == "class" else 2)
        self.mask = MLP(width, width)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, hidden: Hidden, batch: Batch) -> Tracks:
        """Return masks and classes of every query after each round, the untouched ones first."""
        points, real = batch.padded(self.points(self.embedded(hidden)))
        queries = self.queries.expand(len(points), -1, -1)
        masks, classes = [self._masks(queries, points, real)], [self.classify(queries)]
        for refine in self.rounds:
            queries = refine(queries, self.places, points, attention_bias(masks[-1], real))
            masks.append(self._masks(queries, points, real))
            classes.append(self.classify(queries))
        return Tracks(masks, classes, real)

    def averaged(self, hidden: Hidden) -> Tensor:
        """Return the average of the backbone's states with learned softmax weights (P, W)."""
        pairs = zip(self.weights.softmax(0), hidden.points, strict=True)
        return torch.stack([weight * state for weight, state in pairs]).sum(0)

    def embedded(self, hidden: Hidden) -> Tensor:
        """Return the points as the head sees them, normalised (P, W)."""
        normed: Tensor = self.norm_points(self.project(self.norm_states(self.averaged(hidden))))
        return normed

    def _masks(self, queries: Tensor, points: Tensor, real: Tensor) -> Tensor:
        """Return the mask logits (B, Q, L); places without a point belong to nobody."""
        logits: Tensor = self.mask(queries) @ points.transpose(1, 2)
        return logits.masked_fill(~real.unsqueeze(1), NO_MASK)


def attention_bias(masks: Tensor, real: Tensor) -> Tensor:
    """Return log(mask probability + 1e-6) as a bias of attention (B, Q, L), far below in padding.

    Gradients go through it into the mask of the round before.
    """
    bias = (masks.float().sigmoid() + EPSILON).log()
    return bias.masked_fill(~real.unsqueeze(1), NO_ATTENTION).to(masks.dtype)


def assign(
    tracks: Tracks, batch: Batch, assignment: Assignment = "mask-and-class"
) -> tuple[Tensor, Tensor]:
    """Return the found track of each point (P), and the claim on it (P) that won.

    Tracks are counted from 1 in their event; 0 is noise, or a point that no query claims. What
    goes to a query that claims noise is noise.
    """
    classes = tracks.classes[-1].float().softmax(-1)
    claims = claimed(tracks.masks[-1].float().sigmoid(), classes, assignment)
    most, which = (each[batch.event, batch.index_in_event] for each in claims.max(1))
    is_noise = classes.argmax(-1)[batch.event, which] == NOISE
    return torch.where((most > 0) & ~is_noise, which + 1, 0), most


def claimed(masks: Tensor, classes: Tensor, assignment: Assignment) -> Tensor:
    """Return how much each query claims each point (B, Q, L).

    `masks` are probabilities (B, Q, L), `classes` (B, Q, C).

    "mask": the mask probability. "mask-and-class": that times the larger class probability, and -1
    of a query whose class is nothing. FM4NPP compares the two, and recommends the latter. A point
    goes to the query that claims it most, and to none where no claim is above 0. Where a class is
    no number, so is the claim.
    """
    sure, which = classes.max(-1, keepdim=True)
    if assignment == "mask":
        return masks.where(sure.isfinite(), torch.nan)
    is_nothing = (which == NOTHING) & sure.isfinite()
    return torch.where(is_nothing, -1.0, masks * sure)
