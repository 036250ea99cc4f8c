"""FM4NPP examined: where the next neighbour is, predicted and true.

Axes: P points, packed · k neighbours.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.evaluation.look import Look, histogram
from pipeline.training.batch import Batch
from pipeline.training.examinations import BATCH_EVENTS, Examined

NAMES = ("eta", "phi", "r")
Floats = NDArray[np.float64]


def examine(examined: Examined) -> Look:
    """Return how far the predicted next neighbour is from the true one, and from the point.

    `skill` is 1 - mean squared error over that of saying that the neighbour is where the point is:
    0 is no better than that, 1 is perfect. Distances are of normalised coordinates.
    """
    steps, guesses = _steps(examined)
    error = ((guesses - steps) ** 2).sum(1)
    trivial = (steps**2).sum(1)
    return Look(
        scores={
            "skill": float(1 - error.mean() / trivial.mean()),
            "distance_median": float(np.median(np.sqrt(error))),
            "distance_median_trivial": float(np.median(np.sqrt(trivial))),
        },
        about={
            "skill": "1 is perfect; 0 is to say that the next neighbour is where the point is",
            "distance_median": "from the predicted to the true next neighbour, normalised",
            "distance_median_trivial": "from the point itself to its next neighbour",
        },
        histograms=[
            histogram(f"{name} of the step to the next neighbour", steps[:, axis], guesses[:, axis])
            for axis, name in enumerate(NAMES)
        ],
    )


@torch.no_grad()
def _steps(examined: Examined) -> tuple[Floats, Floats]:
    """Return the true and the predicted step (P, 3) from each point to its next neighbour."""
    true, made = [], []
    for each in examined.events.batches(BATCH_EVENTS):
        batch = each.to(examined.device)
        predicted = examined.system.module(batch)[:, 0]
        place, exists = _nearest(batch)
        here = batch.points[:, 1:]
        true.append((here[place] - here)[exists].double().cpu().numpy())
        made.append((predicted - here)[exists].double().cpu().numpy())
    return np.concatenate(true), np.concatenate(made)


def _nearest(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the row of each point's next neighbour (P), and whether it has one (P)."""
    first = batch.per_point["neighbours"][:, 0]
    start = batch.offsets[:-1][batch.event]
    return (first + start).clamp(min=0), first >= 0
