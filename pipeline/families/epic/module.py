"""EPiC layers over packed points, and the velocity of a flow that is made of them.

Buhmann, Kasieczka, Thaler, arXiv:2301.08128, §3, as uhh-pd-ml/EPiC-FM at 09294eb computes it:
points h_i and one vector g of the event in turn,

    g ← a(G2[u] + g), u = a(G1[mean h, s Σ h, g]),    h_i ← a(P2[v_i] + h_i), v_i = a(P1[h_i, g]),

where a is leaky ReLU, and each linear layer is given the time first and the conditions last. Rows
of these layers have lengths of their own (arXiv:1602.07868). The velocity is a of a last layer.
Axes: P points, packed · B events · F columns that flow · W channels of a point · G of the event
· K of the time · C of the conditions.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from pipeline.data.store import Store
from pipeline.families.epic.spec import EPiC
from pipeline.families.flow import LABEL
from pipeline.nn import draws
from pipeline.nn.batch import Batch
from pipeline.nn.flow import NOISE, Flow, Noise, conditions, labels, noised
from pipeline.nn.hidden import Hidden, HiddenOf

SUM_SCALE = 0.01  # s, as EPiC-GAN has it: the sum over a hundred points is of the size of one


@dataclass(frozen=True)
class Output:
    """The velocity of standardised points in noise, predicted and true."""

    flow: Flow


@dataclass(frozen=True)
class Context:
    """What each linear layer is given beside its own input: of events (B, K) and (B, C), or rows.

    `around` puts the time before an input, and the conditions behind it.
    """

    time: Tensor
    conditions: Tensor

    def around(self, *parts: Tensor) -> Tensor:
        """Return (..., K + parts + C)."""
        return torch.cat([self.time, *(each.to(self.time) for each in parts), self.conditions], -1)

    def of_points(self, batch: Batch) -> "Context":
        """Return the context of each point (P) for that of its event."""
        return Context(self.time[batch.event], self.conditions[batch.event])


class Step(nn.Module):
    """A linear layer whose rows have lengths of their own, given a context, and a leaky ReLU."""

    def __init__(self, model: EPiC, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = weight_norm(nn.Linear(inputs + model.context, outputs))

    def forward(self, known: Context, *parts: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return (..., outputs) of parts that are (..., inputs) together; of a sum if given one."""
        x: Tensor = self.linear(known.around(*parts).to(self.linear.bias.dtype))
        return functional.leaky_relu(x if residual is None else x + residual)


def pooled(points: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the mean and the scaled sum (B, W) of the points (P, W) of each event."""
    total = points.new_zeros(batch.lengths.events, points.shape[1]).index_add(
        0, batch.event, points
    )
    return total / batch.sizes.unsqueeze(1), SUM_SCALE * total


class Layer(nn.Module):
    """One EPiC layer: first the vector of the event, then its points."""

    def __init__(self, model: EPiC) -> None:
        super().__init__()
        width, many = model.width, model.global_width
        self.event = nn.ModuleList([Step(model, 2 * width + many, width), Step(model, width, many)])
        self.point = nn.ModuleList([Step(model, width + many, width), Step(model, width, width)])

    def forward(
        self, points: Tensor, event: Tensor, known: Context, batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Return points (P, W) and vectors of events (B, G), given the context of events."""
        first, second = self.event
        event = second(known, first(known, *pooled(points, batch), event), residual=event)
        first, second = self.point
        own = known.of_points(batch)
        return second(own, first(own, points, event[batch.event]), residual=points), event


def cosines(time: Tensor, width: int) -> Tensor:
    """Return (B, width): cos(t e^j π) of times (B), j from 0, in single precision.

    The products are taken in the authors' order, and e^j is rounded once. So a time has the same
    features on every device, though those of high j are as good as random numbers.
    """
    rising = torch.tensor([math.exp(j) for j in range(width)], device=time.device)
    return (time.float().unsqueeze(1) * rising * math.pi).cos()


def cosines_and_sines(time: Tensor, width: int) -> Tensor:
    """Return (B, width): cosines, then sines of π 2^j t for times t (B), j from 0."""
    frequencies = torch.tensor([math.pi * 2**j for j in range(width // 2)], device=time.device)
    angle = time.float().unsqueeze(1) * frequencies
    return torch.cat([angle.cos(), angle.sin()], 1)


TIMES = {"cosine": cosines, "sincos": cosines_and_sines}


class Backbone(nn.Module):
    """The pretrained part: all layers; with `layers` 0 each point by itself."""

    def __init__(self, model: EPiC) -> None:
        super().__init__()
        self.model = model
        width, many = model.width, model.global_width
        self.entry = nn.ModuleList(
            [Step(model, len(model.columns), width), Step(model, width, width)]
        )
        if model.layers:
            self.event = nn.ModuleList([Step(model, 2 * width, width), Step(model, width, many)])
        self.blocks = nn.ModuleList(Layer(model) for _ in range(model.layers))

    def forward(self, points: Tensor, known: Context, batch: Batch) -> Tensor:
        """Return (P, W) of standardised points (P, F), given the context of events."""
        x = self.entered(points, known, batch)
        if not self.model.layers:
            return x
        event = self.first_event(x, known, batch)
        for block in self.blocks:
            x, event = block(x, event, known, batch)
        return x

    def entered(self, points: Tensor, known: Context, batch: Batch) -> Tensor:
        """Return the points (P, W) before the first layer."""
        first, second = self.entry
        own = known.of_points(batch)
        x = first(own, points)
        entered: Tensor = second(own, x, residual=x)
        return entered

    def first_event(self, points: Tensor, known: Context, batch: Batch) -> Tensor:
        """Return the vector of each event (B, G) before the first layer."""
        mean, total = pooled(points, batch)
        first, second = self.event
        event: Tensor = second(known, first(known, total, mean))  # the sum first, unlike in layers
        return event

    def known(self, time: Tensor, batch: Batch) -> Context:
        """Return the context of events at `time` (B); of a label that is not read, zeros.

        Raises:
            BadInput: A label is none of the classes.
        """
        model, parts = self.model, [time.new_zeros(len(time), 0)]
        if model.labelled:
            one_of = parts[0].new_zeros(batch.lengths.events, model.classes)
            if LABEL in batch.per_event:
                one_of = functional.one_hot(labels(batch, model.classes), model.classes).float()
            parts.append(one_of)
        if model.conditions:
            parts.append(conditions(batch, model.conditions))
        return Context(TIMES[model.time](time, model.time_width), torch.cat(parts, 1))


class Pretrainer(nn.Module):
    """The backbone with its layer for the velocity; time and noise are drawn for each event."""

    def __init__(self, model: EPiC) -> None:
        super().__init__()
        self.backbone = Backbone(model)
        self.noise = Noise(model.moments)
        self.last = Step(model, model.width, len(model.columns))
        self.sigma = model.sigma

    def forward(self, batch: Batch) -> Output:
        """Return the velocity of the points in noise, of columns that are standardised."""
        points = self.noise.standardised(batch.points)
        drawn = draws.normal(batch, NOISE, points.shape[1])
        noise = noised(points, drawn, batch, sigma=self.sigma)
        velocity = self._velocity(noise.points, noise.time, batch)
        return Output(Flow(velocity, noise.velocity, noise.time))

    def _velocity(self, points: Tensor, time: Tensor, batch: Batch) -> Tensor:
        known = self.backbone.known(time, batch)
        x = self.backbone(points, known, batch)
        velocity: Tensor = self.last(known.of_points(batch), x).float()
        return velocity

    def velocity(self, batch: Batch, points: Tensor, time: Tensor) -> Tensor:
        """Return the velocity (P, F) of `points` (P, F) in noise, in their own units."""
        standardised = self._velocity(self.noise.standardised(points), time, batch)
        return self.noise.scaled(standardised)


def backbone(model: EPiC, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone, and how a head is given the points of events, at time 0."""
    backbone, noise = Backbone(model), Noise(model.moments)

    def hidden_of(batch: Batch) -> Hidden:
        bare = Batch(
            batch.points,
            batch.offsets,
            batch.event_id,
            per_event={name: each for name, each in batch.per_event.items() if name != LABEL},
            known=batch.lengths,
        )
        start = batch.points.new_zeros(batch.lengths.events)
        known = backbone.known(start, bare)
        return Hidden([backbone(noise.standardised(batch.points), known, batch)])

    return backbone, hidden_of


def build(model: EPiC, store: Store | None) -> Pretrainer:
    """Return the module; whoever reads a store checks its columns against `reads`."""
    return Pretrainer(model)
