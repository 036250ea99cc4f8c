"""Track finding: mask classification, and the tracks that its answer makes."""

from torch import Tensor, nn

from pipeline.downstream.tracks.loss import track_finding
from pipeline.downstream.tracks.queries import TrackFinder, Tracks, assign
from pipeline.downstream.tracks.spec import TrackHead
from pipeline.downstream.truth import Rows, Truth
from pipeline.evaluation.result import Look
from pipeline.evaluation.tracks import look_of_tracks
from pipeline.families import Family
from pipeline.nn.batch import Batch

TOLD = "track"


def build(head: TrackHead, model: Family) -> nn.Module:
    """Return the head."""
    return TrackFinder(model, head)


def loss(output: Tracks, batch: Batch, head: TrackHead) -> dict[str, Tensor]:  # noqa: ARG001
    """Return class, dice and focal losses."""
    return track_finding(output, batch)


def answer(output: Tracks, batch: Batch, head: TrackHead) -> dict[str, Tensor]:  # noqa: ARG001
    """Return the track that each point was put in (P), 0 for noise, and how surely (P)."""
    track, claim = assign(output, batch)
    return {TOLD: track, "confidence": claim}


def score(told: Rows, truth: Truth, head: TrackHead, seed: int) -> Look:  # noqa: ARG001
    """Return the scores of tracks."""
    return look_of_tracks(
        truth.per_point["track"],
        told[TOLD],
        truth.offsets,
        seed=seed,
        pt_gev=truth.per_point.get("pt_gev"),
        eta=truth.column("eta") if "eta" in truth.columns else None,
    )
