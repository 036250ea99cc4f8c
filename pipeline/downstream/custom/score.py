"""The metrics of the user's class."""

from collections.abc import Mapping

from pipeline.data.errors import BadInput
from pipeline.downstream.custom.plugin import class_of
from pipeline.downstream.custom.spec import CustomTask
from pipeline.downstream.truth import Rows, Truth
from pipeline.evaluation.result import EvaluationResult


def score(predicted: Rows, truth: Truth, task: CustomTask, seed: int) -> EvaluationResult:
    """Return the scores of the class, which may be a plain mapping of numbers by name.

    Raises:
        BadInput: They are neither, or one that the declaration shows is missing.
    """
    found = class_of(task).score(predicted, truth, task, seed)
    if isinstance(found, Mapping):
        found = EvaluationResult({name: float(value) for name, value in found.items()})
    if not isinstance(found, EvaluationResult):
        message = f"{task.code}: score returned {type(found).__name__}; expected numbers by name."
        raise BadInput(message)
    missing = [name for name in task.scores if name not in found.scores]
    if missing:
        message = f"{task.code}: score returned no {', '.join(missing)}, which `scores` names."
        raise BadInput(message)
    return found
