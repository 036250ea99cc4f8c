"""The scores of classes of jets. Axes: B jets."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.downstream.jets.spec import JetTask
from pipeline.downstream.truth import Rows, Truth
from pipeline.evaluation.classification import evaluate_classes
from pipeline.evaluation.result import EvaluationResult

PREDICTION = "probabilities"
NO_CLASS = -100  # which torch's cross-entropy leaves out


def score(predicted: Rows, truth: Truth, task: JetTask, seed: int) -> EvaluationResult:
    """Return the scores of the classes, over the jets that are in one."""
    true = classes_of(truth.per_event["label"], task)
    known = true != NO_CLASS
    probabilities = predicted[PREDICTION][known]
    return evaluate_classes(true[known], probabilities, None, names=task.classes, seed=seed)


def classes_of(labels: NDArray[Any], task: JetTask) -> NDArray[np.int64]:
    """Return the class of each of `labels` (B), `NO_CLASS` for a label that no class has."""
    if not task.labels:
        return labels.astype(np.int64)
    found = np.full(len(labels), NO_CLASS, np.int64)
    for number, of_class in enumerate(task.labels):
        found[np.isin(labels, of_class)] = number
    return found
