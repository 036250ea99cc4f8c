"""The transverse momentum of particles, told by each of their points.

Axes: P points, packed · T particles.
"""

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from pipeline.downstream.momentum.spec import MomentumHead
from pipeline.downstream.truth import Rows, Truth
from pipeline.evaluation.momenta import evaluate_momenta
from pipeline.evaluation.result import Look
from pipeline.families import Family
from pipeline.nn.batch import Batch
from pipeline.nn.losses import event_mean
from pipeline.nn.point_head import PointTeller

TOLD = "log_pt"


def build(head: MomentumHead, model: Family) -> nn.Module:
    """Return the head, which gives ln(pT / GeV) of each point's particle (P, 1)."""
    return PointTeller(model, head, 1)


def loss(output: Tensor, batch: Batch, head: MomentumHead) -> dict[str, Tensor]:  # noqa: ARG001
    """Return Huber's loss of ln pT over the points of particles whose pT is known."""
    pt_gev = batch.per_point["pt_gev"]
    known = (pt_gev > 0) & (batch.per_point["track"] != 0)
    true = pt_gev.clamp(min=1e-6).log()
    error = functional.smooth_l1_loss(output.float().squeeze(1), true, reduction="none")
    return {"log_pt": event_mean(error, known.float(), batch)}


def answer(output: Tensor, batch: Batch, head: MomentumHead) -> dict[str, Tensor]:  # noqa: ARG001
    """Return ln(pT / GeV) as each point (P) tells it."""
    return {TOLD: output.float().squeeze(1)}


def score(told: Rows, truth: Truth, head: MomentumHead, seed: int) -> Look:  # noqa: ARG001
    """Return the scores of particles, of which each is told the mean of what its points tell.

    Raises:
        ValueError: There is no particle of known momentum.
    """
    pt_gev, track = truth.per_point["pt_gev"], truth.per_point["track"]
    known = (pt_gev > 0) & (track != 0)
    if not known.any():
        message = "pt_gev: no point is of a particle of known momentum; nothing can be scored."
        raise ValueError(message)
    event = np.repeat(np.arange(len(truth.offsets) - 1), np.diff(truth.offsets))
    particles = np.stack([event[known], track[known]], 1)
    _, first, which = np.unique(particles, axis=0, return_index=True, return_inverse=True)
    points = np.bincount(which)
    mean = np.bincount(which, weights=told[TOLD][known]) / points
    return evaluate_momenta(pt_gev[known][first].astype(float), np.exp(mean), seed=seed)
