"""FM4NPP probed: where the next neighbour is, predicted and true.

Axes: P points, packed · k neighbours.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.evaluation.result import EvaluationResult, histogram
from pipeline.nn.batch import Batch
from pipeline.probing import Subject

NAMES = ("eta", "phi", "r")
Floats = NDArray[np.float64]


def probe(subject: Subject) -> EvaluationResult:
    """Return how far the predicted next neighbour is from the true one, and from the point.

    `explained` is 1 - mean squared error over the variance of the true places; `skill` the same
    over the error of saying that the neighbour is where the point is, which is hard to beat. 1 is
    perfect, 0 no better than that. Distances are of normalised coordinates.
    """
    here, there, made = _places(subject)
    error = ((made - there) ** 2).sum(1)
    trivial = ((here - there) ** 2).sum(1)
    return EvaluationResult(
        scores={
            "explained": float(1 - error.mean() / there.var(0).sum()),
            "skill": float(1 - error.mean() / trivial.mean()),
            "distance_median": float(np.median(np.sqrt(error))),
            "distance_median_trivial": float(np.median(np.sqrt(trivial))),
        },
        about={
            "explained": "1 is perfect; 0 is to say that it is at the mean of all points",
            "skill": "1 is perfect; 0 is to say that the next neighbour is where the point is",
            "distance_median": "from the predicted to the true next neighbour, normalised",
            "distance_median_trivial": "from the point itself to its next neighbour",
        },
        histograms=[
            histogram(f"{name} of the next neighbour", there[:, axis], made[:, axis])
            for axis, name in enumerate(NAMES)
        ],
    )


@torch.no_grad()
def _places(subject: Subject) -> tuple[Floats, Floats, Floats]:
    """Return where each point is, where its next neighbour is and where predicted (P, 3 each)."""
    found: list[tuple[torch.Tensor, ...]] = []
    for each in subject.batches():
        batch = each.to(subject.device)
        predicted = subject.system.module(batch)[:, 0]
        index, exists = _nearest(batch)
        here = batch.points[:, 1:]
        found.append((here[exists], here[index][exists], predicted[exists]))
    points, nexts, made = (
        torch.cat(parts).double().cpu().numpy() for parts in zip(*found, strict=True)
    )
    return points, nexts, made


def _nearest(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the row of each point's next neighbour (P), and whether it has one (P)."""
    first = batch.per_point["neighbours"][:, 0]
    start = batch.offsets[:-1][batch.event]
    return (first + start).clamp(min=0), first >= 0
