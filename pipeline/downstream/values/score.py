"""The scores of numbers of events."""

import numpy as np

from pipeline.downstream.truth import Rows, Truth
from pipeline.downstream.values.spec import ValueTask
from pipeline.evaluation.result import EvaluationResult
from pipeline.evaluation.values import evaluate_values

PREDICTION = "values"


def score(predicted: Rows, truth: Truth, task: ValueTask, seed: int) -> EvaluationResult:
    """Return the scores of the values."""
    true = np.stack([truth.per_event[name] for name in task.targets], 1).astype(np.float64)
    values = predicted[PREDICTION].astype(np.float64)
    return evaluate_values(true, values, tuple(task.targets), seed=seed)
