"""FM4NPP's objective (arXiv:2508.14087): where the next neighbours of every point are.

All are mean squared errors of the k next neighbours' normalised (eta, phi, r); neighbours that do
not exist do not count. They differ in what the mean is over. Axes: P points, packed · B events ·
k neighbours · `predicted` is (P, k, 3).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.nn.batch import Batch
from pipeline.nn.losses import Losses, event_mean, pooled


def existing(batch: Batch) -> Tensor:
    """Return the number of neighbours that exist."""
    return (batch.per_point["neighbours"] >= 0).sum()


@pooled(existing)
def neighbours(predicted: Tensor, batch: Batch) -> Losses:
    """Return the mean over all neighbours of the batch, so that a large event counts more.

    In training that is the global batch. In the authors' code it is what a process takes forward at
    once, so that their means depend on the number of processes.
    """
    squared, exists = _errors(predicted, batch)
    return {"neighbours": squared.sum() / exists.sum().clamp(min=1)}


def neighbours_per_event(predicted: Tensor, batch: Batch) -> Losses:
    """Return the mean over events of each event's mean: the same at any number of processes."""
    squared, exists = _errors(predicted, batch)
    count = exists.sum(1)
    each = squared.sum(1) / count.clamp(min=1)
    return {"neighbours_per_event": event_mean(each, count.float(), batch)}


def neighbours_by_size(
    predicted: Tensor, batch: Batch, *, edges: Sequence[int], weights: Sequence[float]
) -> Losses:
    """Return the mean over events of each event's mean times the weight of its number of points.

    A bin of sizes holds its lower edge and not its upper one; outside all bins the weight is 0.
    """
    squared, exists = _errors(predicted, batch)
    zeros = squared.new_zeros(batch.lengths.events)
    total = zeros.index_add(0, batch.event, squared.sum(1))
    count = zeros.index_add(0, batch.event, exists.sum(1).to(zeros))
    bounds = torch.as_tensor(edges, device=batch.sizes.device)
    padded = zeros.new_tensor([0.0, *weights, 0.0])
    weight = padded[torch.bucketize(batch.sizes, bounds, right=True)]
    return {"neighbours_by_size": (weight * total / count.clamp(min=1)).mean()}


def _errors(predicted: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the squared errors (P, k), 0 where there is no neighbour, and where there is one."""
    wanted = batch.per_point["neighbours"]
    exists = wanted >= 0
    start = batch.offsets[:-1][batch.event].unsqueeze(1)
    targets = batch.points[:, 1:][(wanted + start).clamp(min=0)]
    return (predicted.float() - targets).square().mean(-1) * exists, exists
