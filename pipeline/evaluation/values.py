"""How well numbers of events are predicted. Axes: E events · V values · R resamples."""

from collections.abc import Sequence

import numpy as np

from pipeline.evaluation.inputs import check_rows, check_shape
from pipeline.evaluation.intervals import Floats, percentiles, resampled
from pipeline.evaluation.result import RESAMPLES, EvaluationResult, histogram


def evaluate_values(
    true: Floats, predicted: Floats, names: Sequence[str], *, seed: int, resamples: int = RESAMPLES
) -> EvaluationResult:
    """Return R² and the root mean square error of `predicted` against `true` values (E, V).

    R² is one less the error's square over the variance of the truth: 0 is to say the mean, 1 is
    perfect. `relative_error` is the error over the truth's standard deviation. `r2` and
    `relative_error` are means over the values. Intervals are of a bootstrap over events.

    Raises:
        ValueError: There are not two events that differ, or a value is no number.
    """
    shape = (len(true), len(names))
    for name, each in (("true", true), ("predicted", predicted)):
        check_shape(name, each, shape, f"{shape}, two events or more")
        check_rows(name, np.asarray(np.isfinite(each).all(axis=1)), each, "numbers")
    if (true.std(axis=0) == 0).any():
        message = f"true {', '.join(names)}: the same in all events; expected several values."
        raise ValueError(message)
    error = np.sqrt(np.square(predicted - true).mean(axis=0))
    best = 1 - np.square(error / true.std(axis=0))
    drawn = _r2_drawn(true, predicted, resamples, seed)
    scores = {"r2": float(best.mean()), "relative_error": float(np.sqrt(1 - best).mean())}
    intervals = {
        "r2": percentiles(drawn.mean(axis=1)),
        "relative_error": percentiles(np.sqrt(1 - drawn).mean(axis=1)),
    }
    about = {
        "r2": "one less the squared error over the variance; 0 is to say the mean",
        "relative_error": "root mean square error over the standard deviation of the truth",
    }
    for at, name in enumerate(names):
        scores |= {f"r2_{name}": float(best[at]), f"rms_{name}": float(error[at])}
        intervals[f"r2_{name}"] = percentiles(drawn[:, at])
        about[f"rms_{name}"] = "root mean square error, in the unit of the array"
    pictures = [histogram(name, true[:, at], predicted[:, at]) for at, name in enumerate(names)]
    return EvaluationResult(scores, intervals, about=about, histograms=pictures)


def _r2_drawn(true: Floats, predicted: Floats, resamples: int, seed: int) -> Floats:
    """Return R² of each value over events drawn with replacement (R, V); NaN if all are equal."""
    off = true - true.mean(axis=0)
    columns = np.concatenate([off, off**2, (predicted - true) ** 2], axis=1)
    means = resampled(columns, resamples, seed=seed) / len(true)
    mean, square, error = np.split(means, 3, axis=1)
    variance = square - mean**2
    return 1 - error / np.where(variance > 0, variance, np.nan)
