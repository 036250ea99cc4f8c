"""How well transverse momenta of tracks are predicted: bias, resolution and tails.

Axes: T tracks, R resamples, K bins.
"""

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

# Below, at and above the median: a normal distribution has its mean and deviation there.
LEVELS = (0.16, 0.5, 0.84)
TAIL = 3
MOST_BINS = 12
LEAST_PER_BIN = 20
ABOUT = {
    "relative_bias": "median of predicted over true pT, minus one",
    "resolution": "half the width that holds the central 68 % of predicted over true pT",
    "rms_log_ratio": "root mean square of ln(predicted / true pT)",
    "tail_fraction": f"share of tracks more than {TAIL} resolutions from the median",
}


def evaluate_momenta(
    true_pt: NDArray[np.floating],
    predicted_pt: NDArray[np.floating],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> EvaluationResult:
    """Return how far the predicted pT (T), in GeV, is from the true pT (T), in GeV.

    Intervals are of a bootstrap over tracks; that of the tail is at the resolution found.

    Raises:
        ValueError: There is no track, or a pT is not above zero.
    """
    for name, each in (("true_pt", true_pt), ("predicted_pt", predicted_pt)):
        check_shape(name, each, (len(true_pt),), f"({len(true_pt)},), one track or more")
        check_rows(name, np.isfinite(each) & (each > 0), each, "GeV above zero")
    true, predicted = true_pt.astype(np.float64), predicted_pt.astype(np.float64)
    ratio = predicted / true
    log_ratio = np.log(ratio)
    low, middle, high = np.quantile(ratio, LEVELS)
    resolution = float(high - low) / 2
    is_far = np.abs(ratio - middle) > TAIL * resolution
    drawn = quantiles_resampled(np.sort(ratio), LEVELS, resamples, seed=seed)
    squares, far = _means(np.stack([log_ratio**2, is_far], axis=1), resamples, seed).T
    log_true, log_predicted = np.log(true), np.log(predicted)
    return EvaluationResult(
        scores={
            "relative_bias": float(middle) - 1,
            "resolution": resolution,
            "rms_log_ratio": float(np.sqrt(np.mean(log_ratio**2))),
            "tail_fraction": float(is_far.mean()),
        },
        intervals={
            "relative_bias": percentiles(drawn[:, 1] - 1),
            "resolution": percentiles((drawn[:, 2] - drawn[:, 0]) / 2),
            "rms_log_ratio": percentiles(np.sqrt(squares)),
            "tail_fraction": percentiles(far),
        },
        about=ABOUT,
        histograms=[histogram("ln pT", log_true, log_predicted, unit="GeV")],
        curves=[_by_pt(true, ratio, resamples, seed)],
    )


def _means(columns: Floats, resamples: int, seed: int) -> Floats:
    """Return the means (R, C) of the columns (T, C) over tracks drawn with replacement."""
    group = groups(len(columns), seed=seed)
    sums = [np.bincount(group, each) for each in (np.ones(len(columns)), *columns.T)]
    drawn = resampled(np.stack(sums, axis=1), resamples, seed=seed)
    means: Floats = drawn[:, 1:] / drawn[:, :1]
    return means


def _by_pt(true: Floats, ratio: Floats, resamples: int, seed: int) -> Curve:
    """Return the resolution against the median true pT in bins of equal content."""
    bins = int(np.clip(len(true) // LEAST_PER_BIN, 1, MOST_BINS))
    rows: list[tuple[Any, ...]] = []
    for chosen in np.array_split(np.argsort(true, kind="stable"), bins):
        values = np.sort(ratio[chosen])
        drawn = quantiles_resampled(values, (LEVELS[0], LEVELS[-1]), resamples, seed=seed)
        low, high = np.quantile(values, (LEVELS[0], LEVELS[-1]))
        ends: Interval = percentiles((drawn[:, 1] - drawn[:, 0]) / 2)
        rows.append((float(np.median(true[chosen])), float(high - low) / 2, *ends))
    columns = (list(each) for each in zip(*rows, strict=True))
    return Curve("resolution by pT", "true pT [GeV]", "relative resolution", *columns)
