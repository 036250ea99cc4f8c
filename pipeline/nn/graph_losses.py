"""What graph networks for tracks minimise: losses of a learnt space, and of logits of edges.

Axes: P points, packed · B events · E edges or pairs of points.
"""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.nn.batch import Batch
from pipeline.nn.graphs import Graph
from pipeline.nn.losses import Losses, event_mean


def metric(graph: Graph, batch: Batch) -> Losses:
    """Return the loss of the space of `graph`, in which the points of a track are to be near."""
    if graph.space is None:
        return {}
    return {"metric": graph.space.loss(graph.space, batch)}


def filtered(graph: Graph, batch: Batch) -> Losses:
    """Return the cross-entropy of the edges that a filter was given."""
    if graph.candidates is None:
        return {}
    given = graph.candidates
    return {"filter": verdicts(given.logits, given.edges, batch, given.true_weight)}


def edges(graph: Graph, batch: Batch) -> Losses:
    """Return the cross-entropy of the edges that are left."""
    if graph.logits is None:
        return {}
    return {"edges": verdicts(graph.logits, graph.edges, batch, graph.true_weight)}


def within(graph: Graph | None, batch: Batch) -> Losses:
    """Return the losses of what a backbone makes on its way, which a head's own do not train."""
    return {} if graph is None else metric(graph, batch) | filtered(graph, batch)


def verdicts(logits: Tensor, pairs: Tensor, batch: Batch, true_weight: float = 1.0) -> Tensor:
    """Return the mean over events of the cross-entropy of edges (2, E) with `logits` (E).

    That of a true edge counts `true_weight` times in the sum over edges, once in their number.
    """
    return over_events(entropies(logits, together(pairs, batch), true_weight), pairs, batch)


def entropies(logits: Tensor, true: Tensor, true_weight: float) -> Tensor:
    """Return the weighted cross-entropy (E) of edges that are `true` (E) or not."""
    weight = torch.tensor(true_weight, device=logits.device)
    return functional.binary_cross_entropy_with_logits(
        logits.float(), true.float(), pos_weight=weight, reduction="none"
    )


def together(pairs: Tensor, batch: Batch) -> Tensor:
    """Return which pairs (2, E) are points of one track (E); noise is of none."""
    first, second = batch.per_point["track"][pairs]
    return (first == second) & (first != 0)


def over_events(values: Tensor, pairs: Tensor, batch: Batch) -> Tensor:
    """Return the mean over events of the mean of their values (E); an event without counts 0."""
    event = batch.event[pairs[1]]
    zeros = values.new_zeros(batch.lengths.events)
    count = zeros.index_add(0, event, torch.ones_like(values))
    return (zeros.index_add(0, event, values) / count.clamp(min=1)).mean()


def particles(logits: Tensor, batch: Batch) -> Losses:
    """Return the cross-entropy of the kind of particle of each point; `logits` are (P, C)."""
    true = batch.per_point["pid"].long()
    entropy = functional.cross_entropy(logits.float(), true, reduction="none")
    return {"particles": event_mean(entropy, torch.ones_like(entropy), batch)}
