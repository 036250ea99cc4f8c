"""Flow matching on packed sets of points: noise that flows to data, and the way along it.

Lipman et al., arXiv:2210.02747, with time the other way round, as OmniLearned has it: at time t a
point x of the data and ε of the noise are seen as z = (1 - t) x + t ε, which moves with velocity
v = ε - x. From noise at t = 1 the learned velocity leads back to data at 0. Axes: P points, packed
· B events · F columns that flow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from pipeline.data.errors import BadInput
from pipeline.families.flow import LABEL, MULTIPLICITY
from pipeline.nn import draws
from pipeline.nn.batch import Batch
from pipeline.nn.class_losses import beyond

MULTIPLICITY_UNIT = 100.0
TIME, NOISE, START = "flow.time", "flow.noise", "flow.start"  # purposes of random numbers
LOWEST, HIGHEST = 1.0, 1000.0  # frequencies by which time is encoded, 1 / unit of time
Velocity = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Noised:
    """Points seen in noise (P, F), at which time (B), and the velocity that they have (P, F)."""

    points: Tensor
    time: Tensor
    velocity: Tensor


@dataclass(frozen=True)
class Flow:
    """A velocity: `predicted` and `true` (P, F), at `time` (B)."""

    predicted: Tensor
    true: Tensor
    time: Tensor


@dataclass(frozen=True)
class Noise:
    """Normal noise, of the mean and standard deviation `moments` in each of the columns."""

    moments: Sequence[tuple[float, float]]

    def _of(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and deviation (F) where `points` are, in single precision."""
        mean, deviation = torch.tensor(self.moments, device=points.device).unbind(1)
        return mean, deviation

    def standardised(self, points: Tensor) -> Tensor:
        """Return points (P, F) in units in which the noise is standard normal."""
        mean, deviation = self._of(points)
        return (points - mean) / deviation

    def scaled(self, velocity: Tensor) -> Tensor:
        """Return a velocity (P, F) of standardised points in their own units."""
        return velocity * self._of(velocity)[1]

    def drawn(self, batch: Batch, purpose: str) -> Tensor:
        """Return noise (P, F) for the points of `batch`, drawn for a `purpose` of its events."""
        mean, deviation = self._of(batch.points)
        return draws.normal(batch, purpose, len(self.moments)) * deviation + mean


def noised(points: Tensor, noise: Tensor, batch: Batch, *, sigma: float = 0.0) -> Noised:
    """Return points (P, F) in `noise` (P, F), at a time drawn evenly for each event.

    A share `sigma` of the noise stays at time 0: z = (1 - t) x + (σ + (1 - σ) t) ε.
    """
    time = draws.uniform(batch, TIME, per="event")
    share = time[batch.event].unsqueeze(1)
    seen = (1 - share) * points + (sigma + (1 - sigma) * share) * noise
    return Noised(seen, time, (1 - sigma) * noise - points)


def midpoint(velocity: Velocity, start: Tensor, times: Tensor, steps: int) -> Tensor:
    """Return where `start`, at time 1, is led to by `velocity(z, time)` until time 0.

    The midpoint rule, z - h v(z - h/2 v(z, t), t - h/2) in equal steps h, whose error falls with
    the square of h. `times` are ones, one for each time that the velocity is given: t times them.
    Times are in single precision, as EPiC-FM's sampler has them: a model may tell them apart.
    """
    z, time = start, torch.ones(())
    for following in torch.linspace(1, 0, steps + 1)[1:]:
        step = (following - time).item()
        half = z + step / 2 * velocity(z, time.item() * times)
        z = z + step * velocity(half, (time + step / 2).item() * times)
        time = time + step
    return z


class Flowing(Protocol):
    """A pretrained module whose flow can be followed."""

    noise: Noise

    def velocity(self, batch: Batch, points: Tensor, time: Tensor, /) -> Tensor:
        """Return the velocity (P, F) of `points` (P, F) in noise, at `time` (B)."""


@torch.no_grad()
def generated(model: Flowing, batch: Batch, steps: int) -> Tensor:
    """Return points (P, F) drawn from the model, as many of each event as `batch` has.

    Of its points only the number is read; of its events what the model takes as known.
    """
    start = model.noise.drawn(batch, START)
    ones = start.new_ones(batch.lengths.events)
    return midpoint(partial(model.velocity, batch), start, ones, steps)


def fourier(time: Tensor, width: int) -> Tensor:
    """Return (B, width): sines and cosines of time (B), frequencies from 1 to 1000 by ratio.

    Tancik et al., arXiv:2006.10739, §4, with axes in place of drawn frequencies.
    """
    half = width // 2
    ladder = torch.linspace(0, 1, half, device=time.device)
    angle = time.float().unsqueeze(1) * LOWEST * (HIGHEST / LOWEST) ** ladder
    return torch.cat([angle.sin(), angle.cos()], 1)


def labels(batch: Batch, classes: int) -> Tensor:
    """Return the label (B) of each event.

    Raises:
        BadInput: One is none of the classes.
    """
    true = batch.per_event[LABEL]
    if beyond(batch, classes):
        least, largest = batch.range_of(LABEL)
        message = (
            f"labels from {least} to {largest}; the model has {classes} "
            "classes, counted from 0. Declare as many as the store has."
        )
        raise BadInput(message)
    return true


def class_counts(batch: Batch, classes: int) -> Tensor:
    """Return how many events are of each class (C).

    Raises:
        BadInput: A label is none of the classes.
    """
    true = labels(batch, classes)
    return true.new_zeros(classes).index_add(0, true, torch.ones_like(true))


def conditions(batch: Batch, names: Sequence[str]) -> Tensor:
    """Return the conditions (B, C) of each event: the number of points over 100, others as ln.

    That is sign(x) ln(1 + |x|), so that GeV and shares are of one size.

    Raises:
        BadInput: An array is not of one number per event, and no column of it is named.
    """
    found = [_condition(batch, name) for name in names]
    return torch.stack(found, 1)


def _condition(batch: Batch, name: str) -> Tensor:
    """Return one condition (B)."""
    if name == MULTIPLICITY:
        return batch.sizes.float() / MULTIPLICITY_UNIT
    array, _, column = name.partition(".")
    values = batch.per_event[array].float()
    if values.ndim > 1 and column.isdigit() and int(column) < values.shape[1]:
        values = values[:, int(column)]
    if values.ndim > 1:
        message = (
            f"condition {name!r}: {array} holds {values.shape[1]} numbers per event; name one, "
            f"{array}.0 to {array}.{values.shape[1] - 1}."
        )
        raise BadInput(message)
    return values.sign() * values.abs().log1p()
