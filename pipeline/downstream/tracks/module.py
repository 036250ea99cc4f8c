"""Track finding: mask classification, and the tracks that the masks make."""

from torch import Tensor, nn

from pipeline.downstream.tracks.loss import track_finding
from pipeline.downstream.tracks.queries import TrackFinder, Tracks, assign
from pipeline.downstream.tracks.score import PREDICTION
from pipeline.downstream.tracks.spec import TrackTask
from pipeline.families import Family
from pipeline.nn.batch import Batch


def build(task: TrackTask, model: Family) -> nn.Module:
    """Return the head."""
    return TrackFinder(model, task)


def loss(output: Tracks, batch: Batch, task: TrackTask) -> dict[str, Tensor]:
    """Return class, dice and focal losses."""
    return track_finding(output, batch)


def predict(output: Tracks, batch: Batch, task: TrackTask) -> dict[str, Tensor]:
    """Return the track of each point (P), 0 for noise, and the confidence of that claim (P)."""
    track, confidence = assign(output, batch, task.assignment)
    return {PREDICTION: track, "confidence": confidence}
