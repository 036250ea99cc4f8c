"""The scores of vertices, of charged particles alone. Axes: P particles, packed."""

from typing import Any

import numpy as np

from pipeline.downstream.tracks.score import PREDICTION, score_reduced
from pipeline.downstream.truth import Rows, Truth
from pipeline.downstream.vertices.spec import VertexTask
from pipeline.evaluation import tracks
from pipeline.evaluation.result import EvaluationResult


def groups(vertex: Any, charge: Any) -> Any:
    """Return the vertex of each particle (P), from 1; 0 for a neutral one, which has no track."""
    return (vertex + 1) * (charge != 0)


def score(predicted: Rows, truth: Truth, task: VertexTask, seed: int) -> EvaluationResult:
    """Return the scores of vertices, of charged particles alone."""
    return score_reduced(reduced(predicted, truth, task), task, seed)


def reduced(predicted: Rows, truth: Truth, task: VertexTask) -> Rows:
    """Return what the scores need of some events, nothing of it by particle."""
    group = groups(truth.per_point["vertex"].astype(np.int64), truth.per_point["charge"])
    return tracks.reduced(group, predicted[PREDICTION] * (group > 0), truth.offsets)


__all__ = ["PREDICTION", "groups", "reduced", "score", "score_reduced"]
