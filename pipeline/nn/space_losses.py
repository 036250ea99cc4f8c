"""What a learnt space costs in which the points of a track are to be near: two published losses.

Axes: P points, packed · B events · D dimensions · E pairs of points. Pairs are (2, E).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.nn import draws
from pipeline.nn.batch import Batch
from pipeline.nn.graph_losses import over_events, together
from pipeline.nn.graphs import Space, nearest


@dataclass(frozen=True)
class Contrastive:
    """EggNet's loss: the sum of three means over pairs at distance d (arXiv:2407.13925).

    A pair costs d² if both points are of one track, else max(0, margin − d)². The means are over
    the pairs of consecutive points of a track, over the `neighbours` nearest of each point, and
    over `random_pairs` of an event (eggnet/loss/contrastive.py at e2bd117). An event counts 0
    where it has none.
    """

    margin: float = 1.0
    neighbours: int = 10
    random_pairs: int = 100_000

    def __call__(self, space: Space, batch: Batch) -> Tensor:
        """Return the mean over events of the three means."""
        near = nearest(space.points, batch.offsets, self.neighbours)
        pairs = track_edges(space.along, batch), near, any_pairs(self.random_pairs, batch)
        return torch.stack([self.part(space.points, each, batch) for each in pairs]).sum()

    def part(self, points: Tensor, pairs: Tensor, batch: Batch) -> Tensor:
        """Return the mean over events of the mean of their pairs, of points (P, D)."""
        # A root has no slope at 0, where a point is paired with itself.
        distance = (squares(points, pairs) + 1e-12).sqrt()
        apart = (self.margin - distance).clamp(min=0)
        cost = torch.where(together(pairs, batch), distance, apart).square()
        return over_events(cost, pairs, batch)


@dataclass(frozen=True)
class Hinge:
    """Exa.TrkX's loss of the squared distances d of pairs (arXiv:2103.06995, §2.2).

    The mean of max(0, margin² − d) over pairs of two tracks, and `true_weight` times the mean of d
    over pairs of one. Pairs are made of the ends of true edges, which are consecutive points of a
    track: each with its nearest within `radius` (`neighbours` with itself), and `random_pairs`
    with any points of the event for each of them on average; and all true edges both ways
    (LightningModules/Embedding/embedding_base.py at fd0b405).
    """

    margin: float = 0.1
    radius: float = 0.1
    neighbours: int = 100
    random_pairs: int = 2
    true_weight: float = 2.0

    def __call__(self, space: Space, batch: Batch) -> Tensor:
        """Return the mean over events."""
        edges = track_edges(space.along, batch)
        ends = edges.unique()
        candidates = torch.cat(
            [self.near(space.points, ends, batch), pairs_of(ends, self.random_pairs, batch)], 1
        )
        return self.cost(space.points, *with_true(candidates, edges, len(space.points)), batch)

    def near(self, points: Tensor, ends: Tensor, batch: Batch) -> Tensor:
        """Return the pairs of each of `ends` with its nearest, of points (P, D)."""
        if self.neighbours < 2:
            return ends.new_empty(2, 0)
        edges = nearest(points, batch.offsets, self.neighbours - 1, self.radius)
        return edges[:, torch.isin(edges[1], ends)].flip(0)

    def cost(self, points: Tensor, pairs: Tensor, true: Tensor, batch: Batch) -> Tensor:
        """Return the loss of pairs, `true` (E) or not, of points (P, D)."""
        distance = squares(points, pairs)
        apart = (self.margin**2 - distance).clamp(min=0)
        repelled = over_events(apart[~true], pairs[:, ~true], batch)
        return repelled + self.true_weight * over_events(distance[true], pairs[:, true], batch)


def squares(points: Tensor, pairs: Tensor) -> Tensor:
    """Return the squared distance (E) of the pairs of points (P, D)."""
    first, second = points.float()[pairs]
    return (first - second).square().sum(1)


@torch.no_grad()
def track_edges(along: Tensor, batch: Batch) -> Tensor:
    """Return the pairs of consecutive points of each track, in the order of `along` (P)."""
    track = batch.per_point["track"]
    kinds = track.unique(return_inverse=True)[1]
    group = batch.event * (len(track) + 1) + kinds
    order = along.argsort(stable=True)
    order = order[group[order].argsort(stable=True)]
    pairs = torch.stack([order[:-1], order[1:]])
    same = (group[pairs[0]] == group[pairs[1]]) & (track[pairs[0]] != 0)
    return pairs[:, same]


def with_true(candidates: Tensor, edges: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Return the distinct candidates and true edges both ways, and which of all are true (E).

    A candidate that is a true edge, either way, is true and stands beside the edge itself.
    """
    number = (candidates[0] * points + candidates[1]).unique()
    true = torch.cat([edges, edges.flip(0)], 1)
    is_true = torch.isin(number, true[0] * points + true[1])
    pairs = torch.cat([torch.stack([number // points, number % points]), true], 1)
    return pairs, torch.cat([is_true, is_true.new_ones(true.shape[1])])


@torch.no_grad()
def any_pairs(number: int, batch: Batch) -> Tensor:
    """Return `number` pairs of points of each event, each as likely as any other.

    A point may be paired with itself.
    """
    below, first = batch.sizes.unsqueeze(1), batch.offsets[:-1].unsqueeze(1)
    points = draws.integers(batch, "pairs", below, 2 * number, per="event") + first
    return points.reshape(-1, 2, number).transpose(0, 1).flatten(1)


@torch.no_grad()
def pairs_of(ends: Tensor, number: int, batch: Batch) -> Tensor:
    """Return pairs of one of `ends`, sorted, with any point of its event.

    An event has `number` times as many as it has ends; a point may be paired with itself.
    """
    count = batch.event[ends].bincount(minlength=batch.lengths.events)
    event = batch.event[ends].repeat_interleave(number)
    first = count.cumsum(0) - count
    below = torch.stack([count, batch.sizes], 1)[batch.event].repeat_interleave(number, 1)
    lots = draws.integers(batch, "pairs of ends", below, 2 * number)[ends]
    of_ends, of_all = lots.unflatten(1, (2, number)).transpose(0, 1).flatten(1)
    return torch.stack([ends[first[event] + of_ends], batch.offsets[event] + of_all])
