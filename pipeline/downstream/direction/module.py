"""Where neutrinos came from. Axes: B events · E events of a split · P pulses · W width."""

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.events import Doubles
from pipeline.data.preparation.directions import unit_vectors
from pipeline.downstream.direction.loss import opening_angle
from pipeline.downstream.direction.spec import DirectionHead
from pipeline.downstream.truth import Rows, Truth
from pipeline.evaluation.directions import evaluate_directions
from pipeline.evaluation.result import Look
from pipeline.families import Family
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden

TOLD = "direction"
UP = np.array([0.0, 0.0, 1.0])


class DirectionTeller(nn.Module):
    """From the state of an event to a unit vector: W to 1024 to 3."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, 3))

    def forward(self, hidden: Hidden, batch: Batch) -> Tensor:
        """Return unit vectors (B, 3), in single precision."""
        return functional.normalize(self.net(hidden.pooled(batch)).float(), dim=1)


def build(head: DirectionHead, model: Family) -> nn.Module:
    """Return the head."""
    return DirectionTeller(model.event_width, head.inner)


def loss(output: Tensor, batch: Batch, head: DirectionHead) -> dict[str, Tensor]:  # noqa: ARG001
    """Return the mean opening angle, rad, of told and true directions."""
    return opening_angle(output, batch)


def answer(output: Tensor, batch: Batch, head: DirectionHead) -> dict[str, Tensor]:  # noqa: ARG001
    """Return the unit vectors (B, 3)."""
    return {TOLD: output}


def score(told: Rows, truth: Truth, head: DirectionHead, seed: int) -> Look:  # noqa: ARG001
    """Return the scores of the directions, beside those of the trivial baseline."""
    true = unit_vectors(truth.per_event["azimuth"], truth.per_event["zenith"])
    baseline = charge_weighted(truth) if "geometry" in truth.tables else None
    return evaluate_directions(true, told[TOLD].astype(np.float64), seed=seed, baseline=baseline)


def charge_weighted(truth: Truth) -> Doubles:
    """Return unit vectors (E, 3): back along the line that fits the pulses in time, by charge.

    The least-squares velocity v of x(t) = x0 + v t over the pulses of an event, each weighted with
    its charge; light travels on, so the particle came from -v. Where all pulses are of one time or
    place, it came from above.
    """
    charge = truth.column("charge").astype(np.float64)[:, None]
    time = truth.column("time").astype(np.float64)[:, None]
    where = truth.tables["geometry"][truth.per_point["sensor_id"]].astype(np.float64)
    cuts, sizes = truth.offsets[:-1], np.diff(truth.offsets)
    total = np.add.reduceat(charge, cuts)

    def off_mean(values: Doubles) -> Doubles:
        return values - np.repeat(np.add.reduceat(values * charge, cuts) / total, sizes, axis=0)

    slope = np.add.reduceat(off_mean(where) * off_mean(time) * charge, cuts)
    length = np.linalg.norm(slope, axis=1, keepdims=True)
    return np.where(length > 0, -slope / np.where(length > 0, length, 1), UP)
