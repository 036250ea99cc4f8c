"""The scores of momenta, particle by particle. Axes: P points, packed."""

import numpy as np

from pipeline.downstream.momentum.spec import MomentumTask
from pipeline.downstream.truth import Rows, Truth
from pipeline.evaluation.momenta import evaluate_momenta
from pipeline.evaluation.result import EvaluationResult

PREDICTION = "log_pt"


def score(predicted: Rows, truth: Truth, task: MomentumTask, seed: int) -> EvaluationResult:
    """Return the scores of particles; a particle's prediction is the mean over its points.

    Raises:
        ValueError: There is no particle of known momentum.
    """
    return score_reduced(reduced(predicted, truth, task), task, seed)


def reduced(predicted: Rows, truth: Truth, task: MomentumTask) -> Rows:
    """Return the true and the predicted momentum in GeV, (T) each, of particles of some events."""
    pt_gev, track = truth.per_point["pt_gev"], truth.per_point["track"]
    known = (pt_gev > 0) & (track != 0)
    event = np.repeat(np.arange(len(truth.offsets) - 1), np.diff(truth.offsets))
    particles = np.stack([event[known], track[known]], 1)
    _, first, which = np.unique(particles, axis=0, return_index=True, return_inverse=True)
    points = np.bincount(which)
    mean = np.bincount(which, weights=predicted[PREDICTION][known]) / points
    return {"true": pt_gev[known][first].astype(float), "predicted": np.exp(mean)}


def score_reduced(rows: Rows, task: MomentumTask, seed: int) -> EvaluationResult:
    """Return the scores of particles.

    Raises:
        ValueError: There is none of known momentum.
    """
    if not len(rows["true"]):
        message = "pt_gev: no point is of a particle of known momentum; nothing can be scored."
        raise ValueError(message)
    return evaluate_momenta(rows["true"], rows["predicted"], seed=seed)
