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
    pt_gev, track = truth.per_point["pt_gev"], truth.per_point["track"]
    known = (pt_gev > 0) & (track != 0)
    if not known.any():
        message = "pt_gev: no point is of a particle of known momentum; nothing can be scored."
        raise ValueError(message)
    event = np.repeat(np.arange(len(truth.offsets) - 1), np.diff(truth.offsets))
    particles = np.stack([event[known], track[known]], 1)
    _, first, which = np.unique(particles, axis=0, return_index=True, return_inverse=True)
    points = np.bincount(which)
    mean = np.bincount(which, weights=predicted[PREDICTION][known]) / points
    return evaluate_momenta(pt_gev[known][first].astype(float), np.exp(mean), seed=seed)
