"""Heads of MPMv2: what is predicted of a hidden constituent.

The paper's seven (arXiv:2409.12589, §3). Axes: P constituents, packed · M masked · C width of the
context · D features · K clusters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import zuko
from torch import Tensor, nn

from pipeline.families.jet_columns import IDENTITY
from pipeline.families.mpmv2.spec import (
    BINS,
    FLOW_INNER,
    FLOWS,
    IDENTITIES,
    KINEMATICS,
    TIMES,
    MPMv2,
)
from pipeline.families.omnijet.spec import TOKEN
from pipeline.nn import draws, k_means
from pipeline.nn.batch import Batch
from pipeline.nn.flow import fourier

ANGLE_SCALE = 4.0  # Δη and Δφ are a fraction of a radian; so they are of order one
# A flow's density has no end at a value that many share, as a neutral particle's impact parameter.
SPREAD = 0.05


@dataclass(frozen=True)
class Prediction:
    """What is predicted and what is true (M, …); of a density the prediction is ln p (M)."""

    predicted: Tensor
    true: Tensor


def features(model: MPMv2, batch: Batch, rows: Tensor) -> Tensor:
    """Return the features (M, D) of `rows` (M): pT, Δη, Δφ, and impact parameters if read."""
    points = batch.points[rows].float()
    impact = len(KINEMATICS) + len(IDENTITY)
    found = torch.cat([points[:, : len(KINEMATICS)], points[:, impact:]], 1)
    scale = found.new_ones(found.shape[1])
    scale[1:3] = ANGLE_SCALE
    return (found * scale)[:, : model.features]


def identities(batch: Batch, rows: Tensor) -> Tensor:
    """Return which of `IDENTITIES` each of `rows` (M) is; what is nothing else is a hadron."""
    known = batch.points[rows, len(KINEMATICS) : len(KINEMATICS) + len(IDENTITY)]
    charge, (hadron, _, photon, electron, muon) = known[:, 0], known[:, 1:].unbind(1)
    pair = 2 * hadron + 4 * electron + 6 * muon + (charge > 0)
    found = torch.where(pair < 2, 1 - photon, pair)
    return found.round().long().clamp(0, len(IDENTITIES) - 1)


class Identity(nn.Module):
    """Logits (M, 8) of the kinds of particles."""

    def __init__(self, model: MPMv2) -> None:
        super().__init__()
        self.out = nn.Linear(model.context, len(IDENTITIES))

    def forward(self, context: Tensor, batch: Batch, rows: Tensor) -> Prediction:
        """Return the prediction for `rows` (M), from their context (M, C)."""
        return Prediction(self.out(context), identities(batch, rows))


class Tokens(nn.Module):
    """Logits of the codes of the tokenizer whose store is read."""

    def __init__(self, model: MPMv2) -> None:
        super().__init__()
        self.out = nn.Linear(model.context, model.codes)

    def forward(self, context: Tensor, batch: Batch, rows: Tensor) -> Prediction:
        """Return the prediction for `rows` (M), from their context (M, C)."""
        return Prediction(self.out(context), batch.per_point[TOKEN][rows])


class Regression(nn.Module):
    """The features (M, D) themselves."""

    def __init__(self, model: MPMv2) -> None:
        super().__init__()
        self.model = model
        self.out = nn.Linear(model.context, model.features)

    def forward(self, context: Tensor, batch: Batch, rows: Tensor) -> Prediction:
        """Return the prediction for `rows` (M), from their context (M, C)."""
        return Prediction(self.out(context), features(self.model, batch, rows))


class Clusters(nn.Module):
    """Logits (M, K) of centres that k-means puts among the constituents of the first batch."""

    def __init__(self, model: MPMv2) -> None:
        super().__init__()
        self.model = model
        self.out = nn.Linear(model.context, model.clusters)
        self.centres = k_means.Clusters(model.clusters, model.features)

    def begin(self, batches: Sequence[Batch]) -> None:
        """Put the centres among the constituents of `batches` of all processes; all call."""
        every = [torch.arange(len(each.points), device=each.points.device) for each in batches]
        pairs = zip(batches, every, strict=True)
        found = [features(self.model, batch, rows) for batch, rows in pairs]
        self.centres.begin(torch.cat(found), batches)

    def forward(self, context: Tensor, batch: Batch, rows: Tensor) -> Prediction:
        """Return the prediction for `rows` (M), from their context (M, C)."""
        return Prediction(self.out(context), self.centres(features(self.model, batch, rows)))


class NormalisingFlow(nn.Module):
    """ln p of the features: autoregressive splines (arXiv:1906.04032), in single precision."""

    def __init__(self, model: MPMv2) -> None:
        super().__init__()
        self.model = model
        self.flow = zuko.flows.NSF(
            model.features,
            model.context,
            bins=BINS,
            transforms=FLOWS,
            hidden_features=(FLOW_INNER, FLOW_INNER),
        )

    def forward(self, context: Tensor, batch: Batch, rows: Tensor) -> Prediction:
        """Return ln p (M) of the features of `rows`, given their context (M, C)."""
        true = features(self.model, batch, rows)
        near = true + SPREAD * draws.normal(batch, "mpmv2.cnf", true.shape[1])[rows]
        return Prediction(self.flow(context.float()).log_prob(near), true)

    def sample(self, context: Tensor, start: Tensor) -> Tensor:
        """Return the features (M, D) that standard normal numbers `start` (M, D) flow to."""
        drawn: Tensor = self.flow(context.float()).transform.inv(start)
        return drawn


@dataclass(frozen=True)
class Noisy:
    """Features on their way (M, D), their time (M), and their velocity there (M, D)."""

    features: Tensor
    time: Tensor
    velocity: Tensor


def noisy(true: Tensor, time: Tensor, noise: Tensor) -> Noisy:
    """Return features (M, D) at `time` (M) in noise ε (M, D): z = (1 - t) x + t ε.

    Its velocity is ε - x.
    """
    share = time.unsqueeze(1)
    return Noisy((1 - share) * true + share * noise, time, noise - true)


class FlowMatching(nn.Module):
    """The velocity of each hidden constituent by itself, given its context."""

    def __init__(self, model: MPMv2) -> None:
        super().__init__()
        self.model = model
        inner, count = 2 * model.context, model.features
        self.net = nn.Sequential(
            nn.Linear(count + TIMES + model.context, inner),
            nn.GELU(),
            nn.Linear(inner, inner),
            nn.GELU(),
            nn.Linear(inner, count),
        )

    def forward(self, context: Tensor, batch: Batch, rows: Tensor) -> Prediction:
        """Return the predicted and true velocities (M, D), at times drawn for each constituent."""
        true, time = features(self.model, batch, rows), draws.uniform(batch, "mpmv2.cfm.time")
        noise = draws.normal(batch, "mpmv2.cfm.noise", true.shape[1])
        there = noisy(true, time[rows], noise[rows])
        return Prediction(self.velocity(context, there.features, there.time), there.velocity)

    def velocity(self, context: Tensor, z: Tensor, time: Tensor) -> Tensor:
        """Return the velocity (M, D) at z (M, D) and time (M)."""
        given = [z.to(context.dtype), fourier(time, TIMES).to(context.dtype), context]
        velocity: Tensor = self.net(torch.cat(given, 1))
        return velocity


class SetFlow(nn.Module):
    """The velocities of all hidden constituents of a jet together: mask tokens carry them."""

    def __init__(self, model: MPMv2) -> None:
        super().__init__()
        self.model = model
        self.entry = nn.Linear(model.features + TIMES, model.context)
        self.out = nn.Linear(model.context, model.features)

    def start(self, batch: Batch, rows: Tensor) -> tuple[Noisy, Tensor]:
        """Return `rows` (M) in noise, at a time drawn for each jet, and what mask tokens get."""
        true, of_jets = features(self.model, batch, rows), batch.event[rows]
        time = draws.uniform(batch, "mpmv2.ssfm.time", per="event")[of_jets]
        noise = draws.normal(batch, "mpmv2.ssfm.noise", true.shape[1])
        there = noisy(true, time, noise[rows])
        return there, self.embedded(there.features, time)

    def embedded(self, z: Tensor, time: Tensor) -> Tensor:
        """Return what mask tokens get (M, C) of z (M, D) and time (M)."""
        given = torch.cat([z, fourier(time, TIMES)], 1).to(self.entry.weight.dtype)
        entry: Tensor = self.entry(given)
        return entry

    def forward(self, context: Tensor, there: Noisy) -> Prediction:
        """Return the predicted and true velocities (M, D), of the decoder's context (M, C)."""
        return Prediction(self.out(context), there.velocity)


HEADS: dict[str, Callable[[MPMv2], nn.Module]] = {
    "identity": Identity,
    "tokens": Tokens,
    "regression": Regression,
    "clusters": Clusters,
    "cnf": NormalisingFlow,
    "cfm": FlowMatching,
    "ssfm": SetFlow,
}
