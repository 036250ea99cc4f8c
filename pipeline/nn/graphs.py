"""Graphs of near points: of each event by itself, never with all distances of it in memory.

Edges are (2, E): whom a point looks at, and the point. They are sorted, by the point first.

Axes: P points, packed · D dimensions · E edges · B events.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from pipeline.families.graphs import COLUMNS
from pipeline.nn.batch import Batch

AT_ONCE = 1 << 20  # distances that are looked at together where there is no tree


class SpaceLoss(Protocol):
    """What the places of points in a space cost (`pipeline.nn.space_losses`)."""

    def __call__(self, space: "Space", batch: Batch, /) -> Tensor:
        """Return the mean over the events of the batch."""


@dataclass(frozen=True)
class Space:
    """A learnt place of each point (P, D), where those of a track are to be near.

    `along` (P) is the order of the points of a track, how far out each is; `loss` trains the space.
    """

    points: Tensor
    along: Tensor
    loss: SpaceLoss


@dataclass(frozen=True)
class Candidates:
    """Edges before a filter cut some of them, and its logit of each (E).

    A true edge counts `true_weight` times in the loss.
    """

    edges: Tensor
    logits: Tensor
    true_weight: float = 1.0


@dataclass(frozen=True)
class Graph:
    """What a model made of a batch on its way, which losses of their own train.

    `edges` (2, E) are of near points, `space` that in which they are near, if it is learnt. Of the
    edges there may be `states` (E, W) and the `logits` (E) that both ends are of one track, in
    whose loss a true one counts `true_weight` times; `candidates` are those there were before a
    filter, if there was one.
    """

    edges: Tensor
    space: Space | None = None
    states: Tensor | None = None
    logits: Tensor | None = None
    candidates: Candidates | None = None
    true_weight: float = 1.0


def places(points: Tensor) -> Tensor:
    """Return (P, 4): eta, r and a circle of phi, of points (P, 4): energy, eta, phi, r normalised.

    On the circle, of circumference 1 as phi has it, points on both sides of ±π are near.
    """
    eta, phi, r = points[:, 1:].unbind(1)
    angle = 2 * math.pi * phi
    return torch.stack([eta, r, *(each / (2 * math.pi) for each in (angle.cos(), angle.sin()))], 1)


def features(points: Tensor) -> Tensor:
    """Return (P, 5): energy, eta, r, and cos and sin of phi, of points (P, 4) as `places`."""
    angle = 2 * math.pi * points[:, 2:3]
    return torch.cat([points[:, [0, 1, 3]], angle.cos(), angle.sin()], 1)


def inputs(points: Tensor, columns: Sequence[str]) -> Tensor:
    """Return what a network reads of points (P, C) with these columns, 0 for what is no number.

    That is `features` where the columns are energy, eta, phi and r, else the columns.
    """
    given = points.nan_to_num(posinf=torch.inf, neginf=-torch.inf)
    return features(given) if tuple(columns) == COLUMNS else given


def along(batch: Batch, columns: Sequence[str]) -> Tensor:
    """Return the radius (P) of each point, or its place in the event where no column is r."""
    if "r" in columns:
        return batch.points[:, tuple(columns).index("r")]
    return batch.index_in_event


@torch.no_grad()
def nearest(points: Tensor, offsets: Tensor, count: int, radius: float = math.inf) -> Tensor:
    """Return edges (2, E) from the `count` nearest points of its event to each of points (P, D).

    Of those alone that are nearer than `radius`; a point is no neighbour of itself. Distances are
    Euclidean, in double precision; of points at the very same distance any may be taken. On a CPU
    k-d trees find them, elsewhere all distances of some points at a time.
    """
    find = _by_tree if points.device.type == "cpu" else by_distances
    found = [
        find(points[start:stop], count, radius) + start
        for start, stop in pairwise(offsets.tolist())
        if stop - start > 1
    ]
    empty = torch.empty(2, 0, dtype=torch.int64, device=points.device)
    return sorted_edges(torch.cat([empty, *found], 1), len(points))


def _by_tree(points: Tensor, count: int, radius: float) -> Tensor:
    """Return the edges (2, E) of one event, unsorted."""
    from scipy.spatial import cKDTree  # takes a while to load

    # A tree takes no NaN; of a model that has diverged the loss shall say so.
    exact = points.detach().double().nan_to_num().numpy()
    distance, near = cKDTree(exact).query(exact, k=min(count + 1, len(exact)))
    return _chosen(torch.from_numpy(distance), torch.from_numpy(near), 0, count, radius)


def by_distances(points: Tensor, count: int, radius: float = math.inf) -> Tensor:
    """Return the edges (2, E) of one event, unsorted, on whatever device its points (L, D) are."""
    exact = points.detach().double()
    rows = max(1, AT_ONCE // len(points))
    found = []
    for start in range(0, len(points), rows):
        # By matrix products distances of points that are close would be lost in rounding.
        distance = torch.cdist(
            exact[start : start + rows], exact, compute_mode="donot_use_mm_for_euclid_dist"
        )
        least = distance.topk(min(count + 1, len(points)), largest=False)
        found.append(_chosen(least.values, least.indices, start, count, radius))
    return torch.cat(found, 1)


def _chosen(distance: Tensor, near: Tensor, start: int, count: int, radius: float) -> Tensor:
    """Return edges of the first `count` of `near` (L, count + 1) that are not the point itself.

    Both are in order of distance; the points are those from `start` on.
    """
    point = torch.arange(start, start + len(near), device=near.device).unsqueeze(1)
    other = near != point
    kept = other & (other.cumsum(1) <= count) & (distance < radius)
    return torch.stack([near[kept], point.expand_as(near)[kept]])


def sorted_edges(edges: Tensor, points: int) -> Tensor:
    """Return edges (2, E) among so many points, by the point they end at, then where they begin."""
    return edges[:, (edges[1] * points + edges[0]).argsort()]


def both_ways(edges: Tensor, points: int) -> Tensor:
    """Return edges (2, E) among so many points with the way back of each, every one once."""
    number = torch.cat([edges[1] * points + edges[0], edges[0] * points + edges[1]]).unique()
    return torch.stack([number % points, number // points]) if points else edges


def way_back(edges: Tensor, points: int) -> Tensor:
    """Return the place (E) of the way back of each edge; `edges` are those of `both_ways`."""
    return (edges[0] * points + edges[1]).argsort()
