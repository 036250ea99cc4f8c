"""How well directions are predicted: the angle between the true and the predicted one.

Axes: E events, R resamples, Q quantiles.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.inputs import check_rows, check_shape
from pipeline.evaluation.intervals import (
    Floats,
    Interval,
    groups,
    percentiles,
    quantiles_resampled,
    resampled,
)
from pipeline.evaluation.result import RESAMPLES, Curve, EvaluationResult, histogram

LEVELS = {"median_deg": 0.5, "p68_deg": 0.68, "p90_deg": 0.9, "p95_deg": 0.95}
BINS = 60
CURVE_POINTS = 200
BASELINE = "baseline_"
PREFIXES = {"predicted": "", "baseline": BASELINE}  # of the names of scores
ABOUT = {
    "mean_angle_rad": "mean opening angle, rad: the score of the Kaggle IceCube challenge",
    "median_deg": "half of the events are nearer to the truth, degrees",
    "p68_deg": "68 % of the events are nearer, degrees",
    "p90_deg": "90 % of the events are nearer, degrees",
    "p95_deg": "95 % of the events are nearer, degrees",
    "std_deg": "standard deviation of the opening angle, degrees",
}


def evaluate_directions(
    true: NDArray[np.floating],
    predicted: NDArray[np.floating],
    *,
    seed: int,
    baseline: NDArray[np.floating] | None = None,
    resamples: int = RESAMPLES,
) -> EvaluationResult:
    """Return how far the predicted directions are from the true ones, with bootstrap intervals.

    The mean angle is the score of Eller et al. (arXiv:2307.15289).

    Args:
        true: (E, 3) of any length.
        predicted: (E, 3) of any length.
        seed: Of the bootstrap over events.
        baseline: (E, 3) as a simpler method predicts it; its scores are named `baseline_…`, and the
            histogram of its angles stands as `true` beside that of `predicted` as `made`.
        resamples: How often the events are drawn anew.

    Raises:
        ValueError: There is no event, or a vector is zero, not finite, or of another shape.
    """
    return evaluate_angles(angles(true, predicted, baseline), seed=seed, resamples=resamples)


def angles(
    true: NDArray[np.floating],
    predicted: NDArray[np.floating],
    baseline: NDArray[np.floating] | None = None,
) -> dict[str, Floats]:
    """Return the opening angles (E), in radians: `predicted`, and `baseline` where there is one.

    Arguments and errors are those of `evaluate_directions`.
    """
    truth = _checked("true", true, len(true))
    found = {"predicted": predicted} | ({} if baseline is None else {"baseline": baseline})
    return {
        name: opening_angles(truth, _checked(name, each, len(true))) for name, each in found.items()
    }


def evaluate_angles(
    angles: Mapping[str, Floats], *, seed: int, resamples: int = RESAMPLES
) -> EvaluationResult:
    """Return the scores of opening angles (E) in radians, as `angles` returns them."""
    angles = {PREFIXES[name]: each for name, each in angles.items()}
    pictures = []
    if BASELINE in angles:
        degrees = (np.degrees(angles[BASELINE]), np.degrees(angles[""]))
        name = "opening angle, that of the baseline as truth"
        pictures.append(histogram(name, *degrees, unit="deg", bins=BINS))
    values: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    for prefix, each in angles.items():
        values |= {prefix + name: value for name, value in _scores(each).items()}
        ends = _intervals(each, resamples, seed)
        intervals |= {prefix + name: interval for name, interval in ends.items()}
    about = {prefix + name: text for prefix in angles for name, text in ABOUT.items()}
    return EvaluationResult(
        values,
        intervals,
        about,
        histograms=pictures,
        curves=[_cumulative(prefix, each) for prefix, each in angles.items()],
    )


def opening_angles(one: NDArray[Any], other: NDArray[Any]) -> Floats:
    """Return the angles (E), in radians, between vectors (E, 3) of any length.

    By way of the tangent, which keeps the small ones exact: arccos has none below 1e-8.
    """
    across = np.linalg.norm(np.cross(one, other), axis=1)
    angles: Floats = np.arctan2(across, np.sum(one * other, axis=1))
    return angles


def _checked(name: str, vectors: NDArray[Any], events: int) -> Floats:
    """Return the unit vectors (E, 3)."""
    check_shape(name, vectors, (events, 3), f"({events}, 3), one event or more")
    found = vectors.astype(np.float64)
    largest = np.abs(found).max(1)
    check_rows(name, np.isfinite(largest), vectors, "finite numbers")
    check_rows(name, largest > 0, vectors, "a vector longer than zero")
    found = found / largest[:, None]  # squares of the largest numbers are infinite
    unit: Floats = found / np.linalg.norm(found, axis=1)[:, None]
    return unit


def _scores(angles: Floats) -> dict[str, float]:
    """Return the scores of angles (E) in radians."""
    degrees = np.degrees(angles)
    found = np.quantile(degrees, list(LEVELS.values()))
    return {
        "mean_angle_rad": float(angles.mean()),
        **{name: float(each) for name, each in zip(LEVELS, found, strict=True)},
        "std_deg": float(degrees.std()),
    }


def _intervals(angles: Floats, resamples: int, seed: int) -> dict[str, Interval]:
    """Return their intervals over resamples of the events."""
    group = groups(len(angles), seed=seed)
    columns = [np.bincount(group, each) for each in (np.ones_like(angles), angles, angles**2)]
    count, sums, squares = resampled(np.stack(columns, axis=1), resamples, seed=seed).T
    mean = sums / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    levels = list(LEVELS.values())
    drawn = quantiles_resampled(np.sort(np.degrees(angles)), levels, resamples, seed=seed)
    return {
        "mean_angle_rad": percentiles(mean),
        **{name: percentiles(each) for name, each in zip(LEVELS, drawn.T, strict=True)},
        "std_deg": percentiles(np.degrees(deviation)),
    }


def _cumulative(prefix: str, angles: Floats) -> Curve:
    """Return the share of events nearer than an angle, at up to 200 of them."""
    shares = np.linspace(0, 1, CURVE_POINTS)
    degrees = np.quantile(np.degrees(angles), shares)
    name = f"{prefix.replace('_', ' ')}opening angle"
    return Curve(name, "opening angle [deg]", "share of events", degrees.tolist(), shares.tolist())
