"""OmniLearned's PET v2: a body, and heads for the class of an event and for the flow of its points.

The columns that flow and their velocities are in units of the noise's deviation in each column. In
physical units the loss would hardly see angles beside momenta.

Bhimji et al., arXiv:2510.24066; sizes and what was counted are in `spec.py`. Axes:
P points, packed · B events · T tokens · F columns that flow · W width · C classes · H heads · S
pairs of one event, packed · E edges from near points.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.data.errors import BadInput
from pipeline.data.store import Store
from pipeline.families.jet_columns import IDENTITY
from pipeline.families.omnilearned.pet import (
    Block,
    DynamicTanh,
    Layout,
    LocalAttention,
    Perceptron,
    TokenBlock,
)
from pipeline.families.omnilearned.spec import RATIO, OmniLearned
from pipeline.nn.attention import Bias, Lengths
from pipeline.nn.batch import Batch
from pipeline.nn.flow import Flow, Noise, Noised, conditions, fourier, labels, noised
from pipeline.nn.graphs import nearest
from pipeline.nn.hidden import Hidden, HiddenOf
from pipeline.nn.interactions import features, function_of
from pipeline.nn.pairs import Pairs

TOKEN_STD = 1.0
BIAS_GAIN = 0.2  # of what is learned from logarithms, which are larger than 1
KNOWN_STD = 0.3  # of kinds: less than what flows, which is of size 1


@dataclass(frozen=True)
class Seen:
    """What the body sees of points (P, W) and, by its tokens, of events (B, T, W)."""

    points: Tensor
    tokens: Tensor


@dataclass(frozen=True)
class Output:
    """Predictions for a batch: logits (B, C) of events, the flow, and logits (B, C) in noise.

    None where the mode has no such head.
    """

    logits: Tensor | None = None
    flow: Flow | None = None
    in_noise: Tensor | None = None


class PairBias(nn.Module):
    """The bias of attention for each pair of points, learned from its features; 0 for tokens."""

    def __init__(self, model: OmniLearned) -> None:
        super().__init__()
        assert model.pairs is not None
        self.pairs = model.pairs
        inner = RATIO * model.width
        self.net = Perceptron(self.pairs.features, inner, model.heads, norm=False, gain=BIAS_GAIN)

    def forward(self, inputs: Tensor, batch: Batch, layout: Layout) -> Bias:
        """Return the bias among tokens and points, from the `inputs` of points (P, columns)."""
        among = Pairs(Lengths.of(batch.offsets))
        values = self.net(features(self.pairs, inputs, among))
        if self.pairs.symmetric:
            values = values[among.mirrored]
        whole = Pairs(Lengths.of(layout.offsets))
        is_point = torch.zeros(whole.lengths.tokens, dtype=torch.bool, device=values.device)
        is_point[layout.points] = True
        query, key = whole.ordered
        (between,) = (is_point[query] & is_point[key]).nonzero(as_tuple=True)
        empty = values.new_zeros(len(query), values.shape[1])
        return whole.bias(empty.index_copy(0, between, values))


class Backbone(nn.Module):
    """The pretrained part; with `layers` 0 it is what embeds a point by itself."""

    def __init__(self, model: OmniLearned) -> None:
        super().__init__()
        self.model = model
        width, flows = model.width, len(model.columns)
        inner = RATIO * width
        names = model.reads().columns
        self.additional_at = [names.index(name) for name in model.additional if model.shown]
        self.near_at = [model.columns.index(name) for name in model.near]
        self.flags_at = [names.index(name) for name in IDENTITY if name in names]
        self.noise = Noise(model.moments)
        self.input_norm = DynamicTanh(flows)
        self.entry = Perceptron(flows, inner, width)
        if model.kinds:
            self.kinds = nn.Embedding(model.kinds, width)
            nn.init.normal_(self.kinds.weight, std=KNOWN_STD)
        if model.additional:
            self.additional = Perceptron(len(model.additional), inner, width, bias=False)
        if model.conditions:
            self.conditions = Perceptron(len(model.conditions), width, width)
        if model.layers:
            self._add_layers(model)

    def _add_layers(self, model: OmniLearned) -> None:
        """Add all by which points see each other, and time, which blocks alone have a use for."""
        width, flows = model.width, len(model.columns)
        shape = (width, model.heads)
        if model.mode != "classifier":
            self.time = Perceptron(width, RATIO * width, width, bias=False)
        if model.pairs is not None:
            self.pair_bias = PairBias(model)
            self.pairs_at = model.pairs.places(model.reads().columns)
        local = flows + model.pair_features
        self.local = LocalAttention(local, *shape, model.head_layers, model.dropout)
        self.tokens = nn.Parameter(torch.randn(model.tokens, width) * TOKEN_STD)
        self.blocks = nn.ModuleList(Block(*shape, model.dropout) for _ in range(model.layers))
        self.norm = DynamicTanh(width)

    def forward(self, batch: Batch, noise: Noised | None = None) -> Seen:
        """Return what is seen of the points as they are, or in `noise`.

        In noise nothing is seen of a point but the columns that flow; without it time is 0.

        Raises:
            BadInput: A kind is none of the model's.
        """
        flows = len(self.model.columns)
        points = batch.points if noise is None else noise.points
        flowing = self.noise.standardised(points[:, :flows])
        x = self.entry(self.input_norm(flowing.to(self.input_norm.gamma.dtype)))
        if noise is None and self.model.shown:
            x = x + self._known(batch, x)
        if self.model.conditions:
            x = x + self.conditions(conditions(batch, self.model.conditions))[batch.event]
        if not self.model.layers:
            return Seen(x, x.new_zeros(len(batch.sizes), 0, x.shape[1]))
        if self.model.mode != "classifier":
            time = points.new_zeros(len(batch.sizes)) if noise is None else noise.time
            x = x + self.time(fourier(time, self.model.width))[batch.event]
        return self._seen(x + self._local(points, batch), points, batch)

    def _known(self, batch: Batch, x: Tensor) -> Tensor:
        """Return what the kind of a point and its additional columns add to it (P, W)."""
        known = torch.zeros_like(x)
        if self.model.kinds:
            known = known + self.kinds(self._kind(batch))
        if self.model.additional:
            known = known + self.additional(batch.points[:, self.additional_at])
        return known

    def _kind(self, batch: Batch) -> Tensor:
        """Return the kind (P) of each point.

        Of charge and flags: 0 none of them, 1 and 2 charged hadrons of negative and positive
        charge, 3 neutral hadrons, 4 photons, 5 and 6 electrons, 7 and 8 muons.
        """
        if not self.model.kind:
            charge, *flags = batch.points[:, self.flags_at].unbind(1)
            positive = (charge > 0).long()
            kind = torch.zeros_like(positive)
            numbers = (1 + positive, 3 + 0 * positive, 4 + 0 * positive, 5 + positive, 7 + positive)
            for flag, number in zip(flags, numbers, strict=True):
                kind = torch.where(flag > 0, number, kind)
            return kind
        kind = batch.per_point[self.model.kind]
        if bool((kind < 0).any()) or bool((kind >= self.model.kinds).any()):
            message = (
                f"{self.model.kind}: kinds from {int(kind.min())} to {int(kind.max())}; the model "
                f"has {self.model.kinds}, counted from 0. Declare as many as the store has."
            )
            raise BadInput(message)
        return kind

    def _local(self, points: Tensor, batch: Batch) -> Tensor:
        """Return what each point (P, W) receives from those near it."""
        flows = points[:, : len(self.model.columns)]
        edges = nearest(flows[:, self.near_at], batch.offsets, self.model.nearest)
        near, point = edges
        edge = self.noise.unscaled(flows[near] - flows[point])
        if self.model.pairs is not None:
            of_pairs = points[:, self.pairs_at]
            with torch.no_grad():
                pairs = function_of(self.model.pairs)(of_pairs[point], of_pairs[near])
            edge = torch.cat([edge, pairs], 1)
        heard: Tensor = self.local(edges, edge, len(points))
        return heard

    def _seen(self, x: Tensor, points: Tensor, batch: Batch) -> Seen:
        """Return what all blocks make of the points embedded (P, W)."""
        layout = Layout.of(batch, self.model.tokens)
        bias = None
        if self.model.pairs is not None:
            bias = self.pair_bias(points[:, self.pairs_at], batch, layout)
        lengths = Lengths.of(layout.offsets)
        x = layout.packed(self.tokens.expand(len(batch.sizes), -1, -1).to(x.dtype), x)
        for block in self.blocks:
            x = block(x, lengths, bias)
        x = self.norm(x)
        return Seen(x[layout.points], x[layout.tokens])


class Classifier(nn.Module):
    """Classes of events from their tokens, which look at the points once more."""

    def __init__(self, model: OmniLearned) -> None:
        super().__init__()
        wide = model.tokens * model.width
        self.blocks = nn.ModuleList(
            TokenBlock(model.width, model.heads, model.dropout) for _ in range(model.head_layers)
        )
        self.together = Perceptron(wide, RATIO * wide, wide)
        self.classes = nn.Linear(wide, model.classes)

    def forward(self, seen: Seen, batch: Batch) -> Tensor:
        """Return logits (B, C)."""
        tokens, layout = seen.tokens, Layout.of(batch, seen.tokens.shape[1])
        for block in self.blocks:
            tokens = block(tokens, seen.points, layout)
        logits: Tensor = self.classes(self.together(tokens.flatten(1)))
        return logits


class Generator(nn.Module):
    """The velocity of points in noise, of an event whose label is known, if there are several."""

    def __init__(self, model: OmniLearned) -> None:
        super().__init__()
        self.classes, width = model.classes, model.width
        if model.labelled:
            self.label = nn.Embedding(model.classes, width)
            self.of_label = Perceptron(width, RATIO * width, width, norm=False)
        self.blocks = nn.ModuleList(
            Block(width, model.heads, model.dropout) for _ in range(model.head_layers)
        )
        self.together = Perceptron(width, RATIO * width, width, norm=False)
        self.velocity = nn.Linear(width, len(model.columns))

    def forward(self, seen: Seen, batch: Batch) -> Tensor:
        """Return velocities (P, F).

        Raises:
            BadInput: A label is none of the classes.
        """
        x = seen.points
        if self.classes > 1:
            x = x + self.of_label(self.label(labels(batch, self.classes)))[batch.event]
        lengths = Lengths.of(batch.offsets)
        for block in self.blocks:
            x = block(x, lengths)
        velocity: Tensor = self.velocity(self.together(x))
        return velocity


class Pretrainer(nn.Module):
    """The backbone with the heads of its mode; time and noise are drawn at every call."""

    def __init__(self, model: OmniLearned) -> None:
        super().__init__()
        self.model = model
        self.backbone = Backbone(model)
        self.noise = Noise(model.moments)
        if model.mode != "generator":
            self.classifier = Classifier(model)
        if model.mode != "classifier":
            self.generator = Generator(model)

    def forward(self, batch: Batch) -> Output:
        """Return the predictions for the events as they are, and in noise."""
        logits = in_noise = flow = None
        if self.model.mode != "generator":
            logits = self.classifier(self.backbone(batch), batch)
        if self.model.mode != "classifier":
            points = batch.points[:, : len(self.model.columns)]
            noise = noised(points, self.noise.like(points), batch)
            seen = self.backbone(batch, noise)
            true = self.noise.unscaled(noise.velocity)
            flow = Flow(self.generator(seen, batch), true, noise.time)
            if self.model.mode == "pretrain":
                in_noise = self.classifier(seen, batch)
        return Output(logits, flow, in_noise)

    def velocity(self, batch: Batch, points: Tensor, time: Tensor) -> Tensor:
        """Return the velocity (P, F) of `points` (P, F) in noise, at `time` (B)."""
        noise = Noised(points, time, torch.empty(0))
        velocity: Tensor = self.generator(self.backbone(batch, noise), batch).float()
        return self.noise.scaled(velocity)


def backbone(model: OmniLearned, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone, and how a head is given points and, by all their tokens, events."""
    backbone = Backbone(model)

    def hidden_of(batch: Batch) -> Hidden:
        seen = backbone(batch)
        return Hidden([seen.points], seen.tokens.flatten(1) if model.layers else None)

    return backbone, hidden_of


def build(model: OmniLearned, store: Store | None) -> Pretrainer:
    """Return the module; whoever reads a store checks its columns against `reads`."""
    return Pretrainer(model)
