"""How many points are right."""

from pipeline.evaluation.result import EvaluationResult


def score(predicted, truth, task, seed):
    """Return the accuracy."""
    hard = truth.per_point["pt_gev"] > task.above_gev
    return EvaluationResult({"hard_accuracy": float((predicted["hard"] == hard).mean())})
