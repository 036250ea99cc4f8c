"""PointGPT-type probed: the points of the next patch, predicted and true.

Axes: G patches, K points of a patch.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.evaluation.result import EvaluationResult, histogram
from pipeline.families.pointgpt.objective import distances
from pipeline.probing import Subject

NAMES = ("eta", "phi", "r")
Floats = NDArray[np.float64]


@torch.no_grad()
def probe(subject: Subject) -> EvaluationResult:
    """Return how far predicted points are from true ones, beside two guesses that know nothing.

    `skill` is 1 - L2 Chamfer distance over that of the mean patch: of every patch of the same
    events, averaged rank by rank.
    """
    made, true = [], []
    for each in subject.batches():
        predicted = subject.system.module(each.to(subject.device))
        made.append(predicted.points.float().cpu())
        true.append(predicted.patches.points.cpu())
    points, truth = torch.cat(made), torch.cat(true)
    first, second = distances(points, truth)
    trivial = distances(truth.mean(0).expand_as(truth), truth)[1]
    centre = distances(torch.zeros_like(truth), truth)[1]
    return EvaluationResult(
        scores={
            "skill": float(1 - second.mean() / trivial.mean()),
            "chamfer_l1": float(first.mean()),
            "chamfer_l2": float(second.mean()),
            "chamfer_l2_mean_patch": float(trivial.mean()),
            "chamfer_l2_centre": float(centre.mean()),
        },
        about={
            "skill": "1 is perfect; 0 is to predict the mean patch everywhere",
            "chamfer_l1": "of every patch but by the mask of training, normalised coordinates",
            "chamfer_l2_mean_patch": "of the mean patch, rank by rank",
            "chamfer_l2_centre": "of the centre, K times",
        },
        histograms=[
            histogram(f"{name} from the centre", *(_flat(each, axis) for each in (truth, points)))
            for axis, name in enumerate(NAMES)
        ],
    )


def _flat(points: torch.Tensor, axis: int) -> Floats:
    """Return one coordinate of all points."""
    values: Floats = points[..., axis].flatten().double().numpy()
    return values
