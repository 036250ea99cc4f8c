"""OmniLearned's objectives: the velocity in noise, and classes of events and of points.

Lipman et al., arXiv:2210.02747; Mikuni, Nachman, arXiv:2404.16091; Bhimji et al., arXiv:2510.24066,
as ViniciusMikuni/OmniLearned at 922355d computes them. Class weights are those of the global batch;
the contrastive part is among all events of it. Axes: P points, packed · B events · G events of the
global batch · C classes · F columns that flow.
"""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.families.omnilearned.module import Output
from pipeline.nn.batch import Batch
from pipeline.nn.flow import class_counts, labels
from pipeline.nn.losses import Losses, event_mean, pooled

UNKNOWN = -1  # in place of a class
SMALLEST = 1e-6  # beside the number of events of a class
SHARPNESS = 2.74  # of what compares events with events in noise


def classes(output: Output, batch: Batch, *, split: int = 0, weighted: bool = True) -> Losses:
    """Return the cross-entropy of the class of an event, nats, a mean over events.

    With `weighted` each class counts as if it were as frequent as others in the batch. With a
    `split` the labels from there on, "class_event", are a choice of their own.

    Raises:
        BadInput: A label is none of the classes.
    """
    assert output.logits is not None
    counts = _counts(output, batch, output.logits.shape[1])
    weights = _weights(counts, batch, weighted=weighted)
    return _entropy("class", output.logits, batch, weights, counts, split)


def perturbed(output: Output, batch: Batch, *, split: int = 0, weighted: bool = True) -> Losses:
    """Return the same in noise, each event weighted with the square of α = 1 - t too.

    What is left of the points in z = α x + t ε.

    Raises:
        BadInput: A label is none of the classes.
    """
    assert output.in_noise is not None
    assert output.flow is not None
    counts = _counts(output, batch, output.in_noise.shape[1])
    weights = _weights(counts, batch, weighted=weighted) * (1 - output.flow.time).square()
    return _entropy("perturbed", output.in_noise, batch, weights, counts, split)


def flow(output: Output, batch: Batch) -> Losses:
    """Return the squared error of the velocity, summed over columns, a mean over points, events."""
    assert output.flow is not None
    squared = (output.flow.predicted.float() - output.flow.true).square().sum(1)
    return {"flow": event_mean(squared, torch.ones_like(squared), batch)}


def contrastive(output: Output, batch: Batch) -> Losses:
    """Return how badly an event is recognised in noise among all of the batch, and vice versa.

    A cross-entropy by the products of what the body makes of events, times the mean of (1 - t)².
    Its value is a mean over the events at hand. Its gradient is that of the mean over all, which
    the events at hand change too, in the place of others: over all micro-batches and processes
    such gradients add up to that of the whole batch.
    """
    del batch
    near = output.compared
    assert near is not None
    products = SHARPNESS * near.clean @ near.noisy.T
    itself = torch.arange(len(products), device=products.device)
    entropy = _row_entropy(products, itself) + _row_entropy(products.T, itself)
    mean, total = entropy[near.here].detach().mean(), entropy.sum()
    share = (total - total.detach()) / (near.here.stop - near.here.start)
    return {"contrastive": near.signal * (mean + share) / 2}


def known(batch: Batch, *, array: str) -> Tensor:
    """Return the number of points whose class in `array` is known."""
    return (batch.per_point[array] >= 0).sum()


@pooled(known)
def points(output: Output, batch: Batch, *, array: str) -> Losses:
    """Return the cross-entropy of the classes of points in `array`, a mean over those not -1."""
    assert output.of_points is not None
    true = batch.per_point[array].long()
    there = true >= 0
    entropy = functional.cross_entropy(
        output.of_points.float(), true.where(there, UNKNOWN), ignore_index=UNKNOWN, reduction="sum"
    )
    return {"points": entropy / there.sum().clamp(min=1)}


def _counts(output: Output, batch: Batch, classes: int) -> Tensor:
    """Return how many events of the global batch are of each class (C), of this one if alone."""
    if output.class_counts is not None:
        return output.class_counts
    return class_counts(batch, classes)


def _weights(counts: Tensor, batch: Batch, *, weighted: bool) -> Tensor:
    """Return the weight of each event (B): how rare its class is in the global batch.

    1 on the mean over that, of `counts` (C) events in each class.
    """
    true = labels(batch, len(counts))
    if not weighted:
        return torch.ones_like(true, dtype=torch.float32)
    rarity = 1 / (counts + SMALLEST)
    return rarity[true] * counts.sum() / (counts * rarity).sum()


def _entropy(
    name: str, logits: Tensor, batch: Batch, weights: Tensor, counts: Tensor, split: int
) -> Losses:
    """Return the mean over events of weight (B) times cross-entropy, of both parts of a split."""
    logits, true = logits.float(), labels(batch, logits.shape[1])
    if not split or split >= logits.shape[1]:
        entropy = functional.cross_entropy(logits, true, reduction="none")
        return {name: (weights * entropy).mean()}
    beyond = true >= split
    below = _part(logits[:, :split], true, weights, ~beyond) / _share(counts[:split], counts)
    above = _part(logits[:, split:], true - split, weights, beyond)
    return {name: below, f"{name}_event": above / _share(counts[split:], counts)}


def _part(logits: Tensor, true: Tensor, weights: Tensor, mine: Tensor) -> Tensor:
    """Return the sum over the events that are `mine` (B, bool), over the number of all."""
    entropy = functional.cross_entropy(logits[mine], true[mine], reduction="none")
    return (weights[mine] * entropy).sum() / len(mine)


def _share(part: Tensor, counts: Tensor) -> Tensor:
    """Return which share of the events of the global batch is in a part of the classes, not 0."""
    return part.sum().clamp(min=1) / counts.sum()


def _row_entropy(products: Tensor, itself: Tensor) -> Tensor:
    """Return the cross-entropy of each row of logits (G, G), nats (G)."""
    return functional.cross_entropy(products, itself, reduction="none")
