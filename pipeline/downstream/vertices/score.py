"""The scores of vertices, of charged particles alone. Axes: P particles, packed."""

from typing import Any

import numpy as np

from pipeline.downstream.tracks.score import PREDICTION
from pipeline.downstream.truth import Rows, Truth
from pipeline.downstream.vertices.spec import VertexTask
from pipeline.evaluation.result import EvaluationResult
from pipeline.evaluation.tracks import evaluate_tracks


def groups(vertex: Any, charge: Any) -> Any:
    """Return the vertex of each particle (P), from 1; 0 for a neutral one, which has no track."""
    return (vertex + 1) * (charge != 0)


def score(predicted: Rows, truth: Truth, task: VertexTask, seed: int) -> EvaluationResult:
    """Return the scores of vertices, of charged particles alone."""
    group = groups(truth.per_point["vertex"].astype(np.int64), truth.per_point["charge"])
    return evaluate_tracks(group, predicted[PREDICTION] * (group > 0), truth.offsets, seed=seed)
