"""Who is near whom in many small events: all distances of an event at once, and no others.

Axes: P points, packed · N events of a run · L points of an event · D dimensions · E edges · k
neighbours of a point at most.
"""

import torch
from torch import Tensor

from pipeline.nn.attention import Lengths, filled


@torch.no_grad()
def nearest(points: Tensor, lengths: Lengths, count: int) -> tuple[Tensor, Tensor]:
    """Return the rows (E) of points (P, D) and of each one's `count` nearest in its event.

    By Euclidean distance; in smaller events of all others there are, and a point alone in its event
    is its own neighbour. Sorted by the point. Run by run on a CPU, elsewhere in one padded call.
    """
    points = points.float().nan_to_num()  # of a model that has diverged the loss shall say so
    if points.is_cuda and len(lengths.runs) > 1:
        return _padded(points, lengths, count)
    edges, start = [], 0
    for events, length in lengths.runs:
        run = points[start : start + events * length].view(events, length, -1)
        near = _near(run, min(count, max(length - 1, 1)), None)
        first = start + torch.arange(events, device=points.device).view(-1, 1, 1) * length
        edges.append((near + first).flatten(0, 1))
        start += events * length
    counts = torch.tensor([each.shape[1] for each in edges], device=points.device)
    sizes = torch.tensor([events * length for events, length in lengths.runs], device=points.device)
    rows = torch.arange(len(points), device=points.device)
    number = counts.repeat_interleave(sizes)
    return rows.repeat_interleave(number), torch.cat([each.flatten() for each in edges])


def with_padding(edges: tuple[Tensor, Tensor], points: int, count: int) -> tuple[Tensor, Tensor]:
    """Return edges in which each of the points has `count` neighbours.

    Where an event has fewer other points, the rest are edges to row `points`, which stands for
    padding; so is the edge of a point alone in its event to itself.
    """
    point, near = edges
    kept = point != near
    point, near = point[kept], near[kept]
    missing = count - torch.bincount(point, minlength=points)
    rows = torch.arange(points, device=point.device).repeat_interleave(missing)
    return torch.cat([point, rows]), torch.cat([near, torch.full_like(rows, points)])


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


def _padded(points: Tensor, lengths: Lengths, count: int) -> tuple[Tensor, Tensor]:
    """Return `nearest` by one call on events padded to the longest."""
    sizes, longest = lengths.offsets.diff(), lengths.longest
    dense = filled(points, lengths.padded, (len(sizes), longest))
    real = torch.arange(longest, device=points.device) < sizes.unsqueeze(1)
    near = _near(dense, min(count, longest - 1), real)
    number = (sizes - 1).clamp(1, near.shape[2]).repeat_interleave(sizes)
    places = near.flatten(0, 1)[lengths.padded]
    alone = (sizes == 1).repeat_interleave(sizes)
    places = places.masked_fill(alone.unsqueeze(1), 0)
    kept = torch.arange(places.shape[1], device=points.device) < number.unsqueeze(1)
    starts = lengths.offsets[:-1].repeat_interleave(sizes)
    rows = torch.arange(len(points), device=points.device)
    return rows.repeat_interleave(number), (places + starts.unsqueeze(1))[kept]
