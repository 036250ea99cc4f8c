"""What graph networks for tracks minimise: distances in a learnt space, and verdicts on edges.

Axes: P points, packed · B events · D dimensions · E edges or pairs of points.
"""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.nn.batch import Batch
from pipeline.nn.graphs import Graph, Space, nearest
from pipeline.nn.losses import Losses, event_mean

OF_EVENT, OF_TRACK = 10, 10  # pairs that a point is in, beside its neighbours
NEAR = 10
# Odd numbers whose multiples are spread evenly (those of xxHash, github.com/Cyan4973/xxHash).
PRIMES = (2654435761, 2246822519, 3266489917)


def metric(graph: Graph, batch: Batch) -> Losses:
    """Return the loss that puts the points of a track together in the space of `graph`."""
    if graph.space is None:
        return {}
    return {"metric": distances(graph.space, batch)}


def filtered(graph: Graph, batch: Batch) -> Losses:
    """Return the cross-entropy of the edges that a filter was given."""
    if graph.candidates is None:
        return {}
    return {"filter": verdicts(graph.candidates.logits, graph.candidates.edges, batch)}


def edges(graph: Graph, batch: Batch) -> Losses:
    """Return the cross-entropy of the edges that are left."""
    if graph.logits is None:
        return {}
    return {"edges": verdicts(graph.logits, graph.edges, batch)}


def within(graph: Graph | None, batch: Batch) -> Losses:
    """Return the losses of what a backbone makes on its way, which a head's own do not train."""
    return {} if graph is None else metric(graph, batch) | filtered(graph, batch)


def distances(space: Space, batch: Batch) -> Tensor:
    """Return the mean over events of the loss of pairs of points at distances d in `space`.

    That is d² if both are of one track, and (max(0, m - d))² else, with the margin m: the
    contrastive loss of EggNet (arXiv:2407.13925); or, if repulsion is "hinge",
    max(0, m² - d²) as Exa.TrkX has it. The pairs: near points, which are hard to distinguish;
    points of one track; and any points of an event. Pairs of the last two kinds follow from the
    event's id and the places of points in it.
    """
    pairs = _pairs(space.points, batch)
    first, second = space.points.float()[pairs]
    square = (first - second).square().sum(1)
    if space.repulsion == "hinge":
        apart = (space.margin**2 - square).clamp(min=0)
    else:
        apart = (space.margin - (square + 1e-12).sqrt()).clamp(min=0).square()
    return over_events(torch.where(together(pairs, batch), square, apart), pairs, batch)


def verdicts(logits: Tensor, pairs: Tensor, batch: Batch) -> Tensor:
    """Return the mean over events of the cross-entropy of edges (2, E) with `logits` (E)."""
    true = together(pairs, batch).float()
    entropy = functional.binary_cross_entropy_with_logits(logits.float(), true, reduction="none")
    return over_events(entropy, pairs, batch)


def together(pairs: Tensor, batch: Batch) -> Tensor:
    """Return which pairs (2, E) are points of one track (E); noise is of none."""
    first, second = batch.per_point["track"][pairs]
    return (first == second) & (first != 0)


def over_events(values: Tensor, pairs: Tensor, batch: Batch) -> Tensor:
    """Return the mean over events of the mean of their values (E); an event without counts 0."""
    event = batch.event[pairs[1]]
    zeros = values.new_zeros(len(batch.sizes))
    count = zeros.index_add(0, event, torch.ones_like(values))
    return (zeros.index_add(0, event, values) / count.clamp(min=1)).mean()


@torch.no_grad()
def _pairs(space: Tensor, batch: Batch) -> Tensor:
    """Return the pairs (2, E) whose distances are to be learnt."""
    track = batch.per_point["track"]
    kinds = track.unique(return_inverse=True)[1]
    of_track = companions(batch.event * (kinds.max() + 1) + kinds, OF_TRACK, batch)
    return torch.cat(
        [
            nearest(space, batch.offsets, NEAR),
            of_track[:, track[of_track[1]] != 0],
            companions(batch.event, OF_EVENT, batch),
        ],
        1,
    )


def companions(group: Tensor, number: int, batch: Batch) -> Tensor:
    """Return up to `number` pairs (2, E) of each point with others of its group (P).

    Groups lie in one event each.
    """
    order = group.argsort(stable=True)
    _, which, sizes = group[order].unique_consecutive(return_inverse=True, return_counts=True)
    starts, size = (sizes.cumsum(0) - sizes)[which], sizes[which]
    seed = batch.event_id[batch.event] * PRIMES[0] + batch.index_in_event * PRIMES[1]
    turns = torch.arange(1, number + 1, device=group.device) * PRIMES[2]
    lot = seed[order].unsqueeze(1) + turns
    lot = ((lot ^ (lot >> 15)) * PRIMES[0]) & 0x7FFFFFFF
    other = order[starts.unsqueeze(1) + lot % size.unsqueeze(1)]
    pairs = torch.stack([other.flatten(), order.repeat_interleave(number)])
    return pairs[:, pairs[0] != pairs[1]]


def particles(logits: Tensor, batch: Batch) -> Losses:
    """Return the cross-entropy of the kind of particle of each point; `logits` are (P, C)."""
    true = batch.per_point["pid"].long()
    entropy = functional.cross_entropy(logits.float(), true, reduction="none")
    return {"particles": event_mean(entropy, torch.ones_like(entropy), batch)}
