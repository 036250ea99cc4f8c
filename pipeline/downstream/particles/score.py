"""The scores of classes of points; events are what is resampled."""

from pipeline.downstream.points import ClassTask
from pipeline.downstream.truth import Rows, Truth
from pipeline.evaluation.classification import evaluate_classes
from pipeline.evaluation.result import EvaluationResult

PREDICTION = "probabilities"


def score(predicted: Rows, truth: Truth, task: ClassTask, seed: int) -> EvaluationResult:
    """Return the scores of the classes of points."""
    true = truth.per_point[task.PER_POINT[0]]
    if true.dtype == bool:  # of two classes, as a user's own files may have them
        true = true.view("uint8")
    probabilities = predicted[PREDICTION]
    return evaluate_classes(true, probabilities, truth.offsets, names=task.NAMES, seed=seed)
