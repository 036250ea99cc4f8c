"""EPiC layers over packed points, and the velocity of a flow that is made of them.

Buhmann, Kasieczka, Thaler, arXiv:2301.08128, §3: points p_i and one vector g of the event in turn,

    g ← g + φ(mean p, s Σ p, g, c),    p_i ← p_i + ψ(p_i, g, c),

with two linear layers in φ and ψ, whose rows have lengths of their own (arXiv:1602.07868), and
leaky ReLU. c is what is known of the event: arXiv:2310.00049, §3. Axes: P points, packed · B events
· F columns that flow · W channels of a point · G of the event · C of what is known.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from pipeline.data.store import Store
from pipeline.families.epic.spec import EPiC
from pipeline.families.flow import LABEL
from pipeline.nn.batch import Batch
from pipeline.nn.flow import Flow, Noise, conditions, fourier, labels, noised
from pipeline.nn.hidden import Hidden, HiddenOf

SUM_SCALE = 0.01  # s, as EPiC-GAN has it: the sum over a hundred points is of the size of one


@dataclass(frozen=True)
class Output:
    """The velocity of standardised points in noise, predicted and true."""

    flow: Flow


class Pair(nn.Module):
    """Two linear layers with a leaky ReLU behind each."""

    def __init__(self, inputs: int, inner: int, outputs: int) -> None:
        super().__init__()
        self.first = weight_norm(nn.Linear(inputs, inner))
        self.second = weight_norm(nn.Linear(inner, outputs))

    def forward(self, *parts: Tensor) -> Tensor:
        """Return (..., outputs) of parts that are (..., inputs) together."""
        x = torch.cat([each.to(self.first.bias.dtype) for each in parts], -1)
        return functional.leaky_relu(self.second(functional.leaky_relu(self.first(x))))


def pooled(points: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the mean and the scaled sum (B, W) of the points (P, W) of each event."""
    total = points.new_zeros(len(batch.sizes), points.shape[1]).index_add(0, batch.event, points)
    return total / batch.sizes.unsqueeze(1), SUM_SCALE * total


class Layer(nn.Module):
    """One EPiC layer: first the vector of the event, then its points."""

    def __init__(self, model: EPiC) -> None:
        super().__init__()
        width, many, known = model.width, model.global_width, model.context
        self.event = Pair(2 * width + many + known, width, many)
        self.point = Pair(width + many + known, width, width)

    def forward(
        self, points: Tensor, event: Tensor, known: Tensor, batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Return points (P, W) and the vectors of events (B, G), given `known` (B, C)."""
        event = event + self.event(*pooled(points, batch), event, known)
        conditions = torch.cat([event, known.to(event.dtype)], 1)[batch.event]
        return points + self.point(points, conditions), event


class Backbone(nn.Module):
    """The pretrained part: all layers; with `layers` 0 each point by itself."""

    def __init__(self, model: EPiC) -> None:
        super().__init__()
        self.model = model
        width, known = model.width, model.context
        self.entry = Pair(len(model.columns) + known, width, width)
        if model.layers:
            self.event = Pair(2 * width + known, width, model.global_width)
        self.blocks = nn.ModuleList(Layer(model) for _ in range(model.layers))

    def forward(self, points: Tensor, time: Tensor, batch: Batch) -> Tensor:
        """Return (P, W) of standardised points (P, F) at `time` (B)."""
        known = self._known(time, batch)
        x = self.entry(points, known[batch.event])
        if not self.model.layers:
            return x
        event = self.event(*pooled(x, batch), known)
        for block in self.blocks:
            x, event = block(x, event, known, batch)
        return x

    def _known(self, time: Tensor, batch: Batch) -> Tensor:
        """Return what is known of events (B, C); of a label that is not read, nothing.

        Raises:
            BadInput: A label is none of the classes.
        """
        model, parts = self.model, [fourier(time, self.model.time_width)]
        if model.labelled:
            one_of = parts[0].new_zeros(len(batch.sizes), model.classes)
            if LABEL in batch.per_event:
                one_of = functional.one_hot(labels(batch, model.classes), model.classes).float()
            parts.append(one_of)
        if model.conditions:
            parts.append(conditions(batch, model.conditions))
        return torch.cat(parts, 1)


class Pretrainer(nn.Module):
    """The backbone with its layer for the velocity; time and noise are drawn at every call."""

    def __init__(self, model: EPiC) -> None:
        super().__init__()
        self.backbone = Backbone(model)
        self.noise = Noise(model.moments)
        self.last = weight_norm(nn.Linear(model.width, len(model.columns)))

    def forward(self, batch: Batch) -> Output:
        """Return the velocity of the points in noise, of columns that are standardised."""
        points = self.noise.standardised(batch.points)
        noise = noised(points, torch.randn_like(points), batch)
        velocity = self._velocity(noise.points, noise.time, batch)
        return Output(Flow(velocity, noise.velocity, noise.time))

    def _velocity(self, points: Tensor, time: Tensor, batch: Batch) -> Tensor:
        velocity: Tensor = self.last(self.backbone(points, time, batch)).float()
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
        )
        start = batch.points.new_zeros(len(batch.sizes))
        return Hidden([backbone(noise.standardised(batch.points), start, bare)])

    return backbone, hidden_of


def build(model: EPiC, store: Store | None) -> Pretrainer:
    """Return the module; whoever reads a store checks its columns against `reads`."""
    return Pretrainer(model)
