"""The scores of found tracks, whichever task found them."""

from pipeline.downstream.task import DownstreamTask
from pipeline.downstream.truth import Rows, Truth
from pipeline.evaluation import tracks
from pipeline.evaluation.result import EvaluationResult

PREDICTION = "track"


def score(predicted: Rows, truth: Truth, task: DownstreamTask, seed: int) -> EvaluationResult:
    """Return the scores of tracks."""
    return score_reduced(reduced(predicted, truth, task), task, seed)


def reduced(predicted: Rows, truth: Truth, task: DownstreamTask) -> Rows:
    """Return what the scores need of some events, nothing of it by point."""
    return tracks.reduced(
        truth.per_point["track"],
        predicted[PREDICTION],
        truth.offsets,
        pt_gev=truth.per_point.get("pt_gev"),
        eta=truth.column("eta") if "eta" in truth.columns else None,
    )


def score_reduced(rows: Rows, task: DownstreamTask, seed: int) -> EvaluationResult:
    """Return the scores of tracks."""
    return tracks.scores_of_tracks(rows, seed=seed)
