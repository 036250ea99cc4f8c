"""Who is near whom in many small events: all distances of an event at once, and no others.

Axes: P points, packed · N events of a run · L points of an event · D dimensions · E edges · k
neighbours of a point at most.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pipeline.nn.lengths import Lengths


@dataclass(frozen=True)
class Edges:
    """Edges from each of P points to some others of its event, sorted by the point.

    near (E): the rows of the others; of a point alone in its event its own. `lengths` are of the
    edges of each point.
    """

    near: Tensor
    lengths: Lengths

    @property
    def point(self) -> Tensor:
        """The row (E) of the point that has the edge."""
        return self.lengths.event

    @property
    def alone(self) -> Tensor:
        """Which points (P) have no edge but that to themselves."""
        return self.near[self.lengths.offsets[:-1]] == torch.arange(
            self.lengths.events, device=self.near.device
        )

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean (P, W) over the edges of each point, of values (E, W)."""
        total = values.new_zeros(self.lengths.events, values.shape[1])
        return total.index_add(0, self.point, values) / self.lengths.sizes.unsqueeze(1)

    def filled_up(self, count: int) -> "Edges":
        """Return edges of which each point has `count`.

        Where an event has fewer other points, the rest are edges to row P, which stands for
        padding; so is the edge of a point alone in its event to itself.
        """
        points = self.lengths.events
        near = self.near.masked_fill(self.near == self.point, points)
        padding = near.new_full((points * count,), points)
        near = padding.index_copy(0, self.point * count + self.lengths.index_in_event, near)
        return Edges(near, Lengths.equal(points, count, near.device))


@torch.no_grad()
def nearest(points: Tensor, lengths: Lengths, count: int) -> Edges:
    """Return the edges from each of points (P, D) to its `count` nearest in its event.

    By Euclidean distance; in smaller events to all others there are, and a point alone in its event
    is its own neighbour. Run by run on a CPU, elsewhere in one padded call.
    """
    points = points.float().nan_to_num()  # of a model that has diverged the loss shall say so
    numbers = lengths.spread((lengths.sizes - 1).clamp(1, count))
    edges = lengths.of_tokens(numbers, partial(_number, count))
    find = padded if points.is_cuda and len(lengths.runs) > 1 else by_runs
    return Edges(find(points, lengths, edges, count), edges)


def _number(count: int, size: int) -> int:
    """Return how many edges a point has in an event of `size` points."""
    return torch.sym_min(torch.sym_max(size - 1, 1), count)


def by_runs(points: Tensor, lengths: Lengths, edges: Lengths, count: int) -> Tensor:
    """Return the rows (E) of the nearest by a call for each run of events."""
    parts = points.split([events * size for events, size in lengths.runs])
    found = [
        _near(part.unflatten(0, run), _number(count, run[1]), None).flatten()
        for part, run in zip(parts, lengths.runs, strict=True)
    ]
    return torch.cat(found) + edges.spread(lengths.starts)


def padded(points: Tensor, lengths: Lengths, edges: Lengths, count: int) -> Tensor:
    """Return the rows (E) of the nearest by one call on events padded to the longest."""
    real = torch.arange(lengths.longest, device=points.device) < lengths.sizes.unsqueeze(1)
    near = _near(lengths.filled(points), min(count, lengths.longest - 1), real)
    # The only key that the query of an event of one point is shown is none.
    near = near.masked_fill((lengths.sizes == 1).view(-1, 1, 1), 0)
    found = near.flatten(0, 1)[edges.spread(lengths.padded), edges.index_in_event]
    return found + edges.spread(lengths.starts)


def _near(points: Tensor, count: int, real: Tensor | None) -> Tensor:
    """Return the places (N, L, k) of the nearest of points (N, L, D), of those that are `real`."""
    length = points.shape[1]
    if length == 1:
        return torch.zeros(len(points), 1, 1, dtype=torch.int64, device=points.device)
    # By matrix products distances of points that are close would be lost in rounding.
    distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    itself = torch.eye(length, dtype=torch.bool, device=points.device)
    distance = distance.masked_fill(itself, torch.inf)
    if real is not None:
        distance = distance.masked_fill(~real.unsqueeze(1), torch.inf)
    return distance.topk(count, largest=False).indices
