"""The scores of directions. Axes: E events of a split · P pulses."""

import numpy as np

from pipeline.data.events import Doubles
from pipeline.data.preparation.directions import unit_vectors
from pipeline.downstream.direction.spec import DirectionTask
from pipeline.downstream.truth import Rows, Truth
from pipeline.evaluation.directions import angles, evaluate_angles
from pipeline.evaluation.result import EvaluationResult

PREDICTION = "direction"
UP = np.array([0.0, 0.0, 1.0])


def score(predicted: Rows, truth: Truth, task: DirectionTask, seed: int) -> EvaluationResult:
    """Return the scores of the directions, beside those of the trivial baseline."""
    return score_reduced(reduced(predicted, truth, task), task, seed)


def reduced(predicted: Rows, truth: Truth, task: DirectionTask) -> Rows:
    """Return the opening angles (E) of some events, and those of the baseline."""
    true = unit_vectors(truth.per_event["azimuth"], truth.per_event["zenith"])
    baseline = charge_weighted(truth) if "geometry" in truth.tables else None
    return angles(true, predicted[PREDICTION].astype(np.float64), baseline)


def score_reduced(rows: Rows, task: DirectionTask, seed: int) -> EvaluationResult:
    """Return the scores of the angles."""
    return evaluate_angles(rows, seed=seed)


def charge_weighted(truth: Truth) -> Doubles:
    """Return unit vectors (E, 3): back along the line that fits the pulses in time, by charge.

    The least-squares velocity v of x(t) = x0 + v t over the pulses of an event, each weighted with
    its charge; light travels on, so the particle came from -v. Where all pulses are of one time or
    place, it came from above.
    """
    charge = truth.column("charge").astype(np.float64)[:, None]
    time = truth.column("time").astype(np.float64)[:, None]
    where = truth.tables["geometry"][truth.per_point["sensor_id"]].astype(np.float64)
    cuts, sizes = truth.offsets[:-1], np.diff(truth.offsets)
    total = np.add.reduceat(charge, cuts)

    def off_mean(values: Doubles) -> Doubles:
        """Return values (P, D) less the mean of their event, weighted by charge."""
        return values - np.repeat(np.add.reduceat(values * charge, cuts) / total, sizes, axis=0)

    slope = np.add.reduceat(off_mean(where) * off_mean(time) * charge, cuts)
    length = np.linalg.norm(slope, axis=1, keepdims=True)
    return np.where(length > 0, -slope / np.where(length > 0, length, 1), UP)
