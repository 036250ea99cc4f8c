"""Which jet is in which sample, and how well signal is found. Axes: B jets."""

import numpy as np
from numpy.typing import NDArray

from pipeline.downstream.anomaly.spec import AnomalyTask
from pipeline.downstream.truth import Rows, Truth
from pipeline.evaluation.classification import evaluate_classes
from pipeline.evaluation.result import EvaluationResult

PREDICTION = "probabilities"
NEITHER, OTHER, DATA = -1, 0, 1
# Scores of signal against background; the same scores of the two samples would say nothing of it.
OF_SIGNAL = ("auc", "rejection_50", "rejection_30", "sic_max", "sic_1e-2", "sic_1e-3")


def samples(
    label: NDArray[np.integer], event_id: NDArray[np.int64], task: AnomalyTask
) -> NDArray[np.int64]:
    """Return the sample of each jet (B): 1 the data, 0 the other, -1 neither.

    It follows from the id alone, so it is the same in every epoch and on every process.
    """
    lot = uniform(event_id, task.draw)
    data, other = task.kept
    of_signal = np.where(lot < data, DATA, np.where(lot < data + other, OTHER, NEITHER))
    of_background = np.where(lot < 0.5, DATA, OTHER)
    return np.where(np.isin(label, task.labels), of_signal, of_background)


def uniform(event_id: NDArray[np.int64], draw: int) -> NDArray[np.float64]:
    """Return a number from 0 to 1 for each id (B): SplitMix64 of the id and the draw.

    Steele, Lea, Flood, Fast splittable pseudorandom number generators (OOPSLA 2014), figure 16.
    """
    with np.errstate(over="ignore"):  # numbers of 64 bits that wrap around
        x = event_id.astype(np.uint64) + np.uint64(draw + 1) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53


def score(predicted: Rows, truth: Truth, task: AnomalyTask, seed: int) -> EvaluationResult:
    """Return how well signal is separated from background, and the samples from each other."""
    label = truth.per_event["label"].astype(np.int64)
    probabilities = predicted[PREDICTION]
    is_signal = np.isin(label, task.labels).astype(np.int64)
    names = ("background", "signal")
    of_signal = evaluate_classes(is_signal, probabilities, None, names=names, seed=seed)
    which = samples(label, truth.event_id, task)
    drawn = which != NEITHER
    names = ("other", "data")
    of_samples = evaluate_classes(which[drawn], probabilities[drawn], None, names=names, seed=seed)
    data, other = (_share(is_signal[which == each]) for each in (DATA, OTHER))
    scores = {name: of_signal.scores[name] for name in OF_SIGNAL}
    scores |= {
        "auc_samples": of_samples.scores["auc"],
        "signal_in_data": data,
        "signal_in_other": other,
    }
    about = {name: of_signal.about[name] for name in OF_SIGNAL} | {
        "auc": "area under the ROC curve of signal and background",
        "auc_samples": "AUC between the two samples, which the head was trained on",
        "signal_in_data": "share of signal in the data, as drawn",
        "signal_in_other": "share of signal in the other sample, as drawn",
    }
    intervals = {name: of_signal.intervals[name] for name in OF_SIGNAL}
    intervals["auc_samples"] = of_samples.intervals["auc"]
    curves = [each for each in of_signal.curves if each.name != "calibration"]
    return EvaluationResult(scores, intervals, about, curves=curves)


def _share(is_signal: NDArray[np.int64]) -> float:
    """Return the share of signal, NaN of nothing."""
    return float(is_signal.mean()) if len(is_signal) else float("nan")
