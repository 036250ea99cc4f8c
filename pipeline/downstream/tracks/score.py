"""The scores of found tracks, whichever task found them."""

from pipeline.downstream.task import DownstreamTask
from pipeline.downstream.truth import Rows, Truth
from pipeline.evaluation.result import EvaluationResult
from pipeline.evaluation.tracks import evaluate_tracks

PREDICTION = "track"


def score(predicted: Rows, truth: Truth, task: DownstreamTask, seed: int) -> EvaluationResult:
    """Return the scores of tracks."""
    return evaluate_tracks(
        truth.per_point["track"],
        predicted[PREDICTION],
        truth.offsets,
        seed=seed,
        pt_gev=truth.per_point.get("pt_gev"),
        eta=truth.column("eta") if "eta" in truth.columns else None,
    )
