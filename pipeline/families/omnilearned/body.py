"""The body of PET v2: points embedded, told of those near them, and read together with tokens.

The order of an event is: tokens, time, conditions, points. Bhimji et al., arXiv:2510.24066, as
ViniciusMikuni/OmniLearned at 922355d computes it. Axes: P points, packed · B events · N what
stands before the points of an event · T tokens · F columns that flow · W width · E edges.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.data.errors import BadInput
from pipeline.families.jet_columns import IDENTITY
from pipeline.families.omnilearned.pet import (
    Block,
    DynamicTanh,
    Fourier,
    Layout,
    LocalAttention,
    Perceptron,
    TokenBlock,
)
from pipeline.families.omnilearned.spec import NO_KIND, OmniLearned
from pipeline.nn import draws
from pipeline.nn.attention import Bias
from pipeline.nn.batch import Batch
from pipeline.nn.flow import Noised, conditions
from pipeline.nn.interactions import features, function_of
from pipeline.nn.neighbours import nearest
from pipeline.nn.pairs import Pairs

TOKEN_STD = 0.02
CLEAN, IN_NOISE = "omnilearned.known", "omnilearned.known in noise"  # purposes of random numbers


@dataclass(frozen=True)
class Seen:
    """What the body makes of points (P, W), and of what stands before them in an event.

    Those are tokens (B, T, W) and, where there is noise or a condition, `time` and `conditions`
    (B, 1, W).
    """

    points: Tensor
    tokens: Tensor
    time: Tensor | None = None
    conditions: Tensor | None = None

    @property
    def others(self) -> Tensor:
        """What is neither token nor point (B, 0 to 2, W)."""
        there = [each for each in (self.time, self.conditions) if each is not None]
        return torch.cat([self.tokens[:, :0], *there], 1)


def column_of(batch: Batch, name: str) -> Tensor:
    """Return an array of points (P), or of a wider one the column that stands behind a dot.

    Raises:
        BadInput: The array has no such column, or several where none is named.
    """
    array, _, column = name.partition(".")
    values = batch.per_point[array]
    if values.ndim > 1 and column.isdigit() and int(column) < values.shape[1]:
        return values[:, int(column)]
    if values.ndim > 1 or column:
        width = values.shape[1] if values.ndim > 1 else 1
        message = (
            f"{name}: the array {array} of points has {width} columns. Name one, {array}.0 to "
            f"{array}.{width - 1}, or the array alone where it has one."
        )
        raise BadInput(message)
    return values


def kind_of(charge: Tensor, flags: Sequence[Tensor]) -> Tensor:
    """Return the number of the kind (P) of points of a charge (P) and `flags` (P) as JetClass.

    The numbers are places among the PDG codes -211, -13, -11, 0, 11, 13, 22, 130, 211: charged
    hadrons are 0 and 8, muons 5 and 1, electrons 4 and 2 (of negative and positive charge), photons
    6, neutral hadrons 7, all else 3.
    """
    positive = charge > 0
    kind = torch.full_like(charge, NO_KIND, dtype=torch.int64)
    numbers = ((0, 8), (7, 7), (6, 6), (4, 2), (5, 1))
    for flag, (minus, plus) in zip(flags, numbers, strict=True):
        kind = torch.where(flag > 0, torch.where(positive, plus, minus), kind)
    return kind


class PairBias(nn.Module):
    """The bias of attention for each pair of points, learned from its features; 0 for others."""

    def __init__(self, model: OmniLearned) -> None:
        super().__init__()
        assert model.pairs is not None
        self.pairs = model.pairs
        self.net = Perceptron(
            self.pairs.features, model.ratio * model.width, model.heads, norm=False
        )

    def forward(self, inputs: Tensor, batch: Batch, layout: Layout) -> Bias:
        """Return the bias of what `layout` has, from the `inputs` of points (P, columns)."""
        among = Pairs(batch.lengths)
        values = self.net(features(self.pairs, inputs, among))
        values = among.of_all(values, symmetric=self.pairs.symmetric)
        whole = Pairs(layout.lengths)
        query, key = among.ordered
        between = whole.numbers(layout.points[query], layout.points[key])
        empty = values.new_zeros(whole.count, values.shape[1])
        return whole.bias(empty.index_copy(0, between, values))


class Summary(nn.Module):
    """What classes are told by: the tokens, which read from all else once more, taken together."""

    def __init__(self, model: OmniLearned) -> None:
        super().__init__()
        wide = model.tokens * model.width
        self.blocks = nn.ModuleList(TokenBlock(model) for _ in range(model.head_layers))
        self.together = Perceptron(wide, model.ratio * wide, wide)

    def forward(self, seen: Seen, batch: Batch) -> Tensor:
        """Return (B, T W)."""
        tokens, others = seen.tokens, seen.others
        layout = Layout.of(batch, others.shape[1])
        read = layout.packed(others, seen.points)
        for block in self.blocks:
            tokens = block(tokens, read, layout.lengths)
        together: Tensor = self.together(tokens.flatten(1))
        return together


class Backbone(nn.Module):
    """The pretrained part; with `layers` 0 it is what embeds a point by itself.

    Where the mode has classes, all of their head but the last layer is here, as `summary`.
    """

    def __init__(self, model: OmniLearned) -> None:
        super().__init__()
        self.model = model
        width, flows = model.width, len(model.columns)
        inner = model.ratio * width
        names = model.reads().columns
        self.additional_at = {n: names.index(n) for n in model.additional if n in names}
        self.near_at = [model.columns.index(name) for name in model.near]
        self.flags_at = [names.index(name) for name in IDENTITY if name in names]
        self.input_norm = DynamicTanh(flows)
        self.entry = Perceptron(flows, inner, width)
        if model.kinds:
            self.kinds = nn.Embedding(model.kinds, width, padding_idx=0)
        if model.additional:
            self.additional = Perceptron(len(model.additional), inner, width, bias=False)
        if model.layers:
            self._add_layers(model)

    def _add_layers(self, model: OmniLearned) -> None:
        """Add all by which points see each other, time and conditions."""
        width = model.width
        if model.noisy:
            self.fourier = Fourier(width)
            self.time = Perceptron(width, model.ratio * width, width, bias=False)
        if model.conditions:
            self.conditions = Perceptron(len(model.conditions), width, width)
        if model.pairs is not None:
            self.pair_bias = PairBias(model)
            self.pairs_at = model.pairs.places(model.reads().columns)
        self.local = LocalAttention(model)
        self.tokens = nn.Parameter(torch.empty(model.tokens, width))
        nn.init.trunc_normal_(self.tokens, std=TOKEN_STD)
        self.blocks = nn.ModuleList(Block(model) for _ in range(model.layers))
        self.norm = DynamicTanh(width)
        if model.mode != "generator":
            self.summary = Summary(model)

    def forward(self, batch: Batch, noise: Noised | None = None, *, known: bool = True) -> Seen:
        """Return what is seen of the points as they are, or in `noise`.

        Without noise there is no time: the published token of time 0 is zero, and hidden. Kinds and
        additional columns are left out unless they are `known`.

        Raises:
            BadInput: A kind is none of the model's.
        """
        points = batch.points if noise is None else noise.points
        flowing = points[:, : len(self.model.columns)].to(self.input_norm.gamma.dtype)
        x = self.entry(self.input_norm(flowing))
        if not self.model.layers:
            return Seen(
                self._with_known(x, batch), x.new_zeros(batch.lengths.events, 0, x.shape[1])
            )
        x = x + self._local(points, batch)
        if known:
            x = self._with_known(x, batch, CLEAN if noise is None else IN_NOISE)
        return self._seen(x, points, batch, None if noise is None else noise.time)

    def _with_known(self, x: Tensor, batch: Batch, purpose: str = CLEAN) -> Tensor:
        """Return x (P, W) with what kinds of points and additional columns add to it.

        In training a share of the events, drawn for a `purpose`, goes without.
        """
        known = []
        if self.model.shown and self.model.kinds:
            known.append(self.kinds(self._kind(batch)))
        if self.model.shown and self.model.additional:
            columns = [self._column(batch, name) for name in self.model.additional]
            known.append(self.additional(torch.stack(columns, 1)))
        if known and self.training and self.model.known_dropout:
            without = draws.bernoulli(batch, purpose, self.model.known_dropout, per="event")
            known = [each * ~without[batch.event].unsqueeze(1) for each in known]
        for each in known:
            x = x + each
        return x

    def _column(self, batch: Batch, name: str) -> Tensor:
        """Return the additional column `name` (P), of the points or of an array of them."""
        if name in self.additional_at:
            return batch.points[:, self.additional_at[name]]
        return column_of(batch, name)

    def _kind(self, batch: Batch) -> Tensor:
        """Return the kind (P) of each point.

        Raises:
            BadInput: One is none of the model's.
        """
        if not self.model.kind:
            charge, *flags = batch.points[:, self.flags_at].unbind(1)
            return kind_of(charge, flags)
        kind = column_of(batch, self.model.kind).long()
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
        edges = nearest(flows[:, self.near_at], batch.lengths, self.model.nearest)
        near, point = edges.near, edges.point
        edge = flows[point] - flows[near]
        if self.model.pairs is not None:
            of_pairs = points[:, self.pairs_at]
            with torch.no_grad():
                pairs = function_of(self.model.pairs)(of_pairs[point], of_pairs[near])
            edge = torch.cat([edge, pairs], 1)
        received: Tensor = self.local(edge, edges)
        return received

    def _seen(self, x: Tensor, points: Tensor, batch: Batch, time: Tensor | None) -> Seen:
        """Return what all blocks make of the points embedded (P, W), at `time` (B) if any."""
        before = [self.tokens.expand(batch.lengths.events, -1, -1)]
        if time is not None:
            before.append(self.time(self.fourier(time)).unsqueeze(1))
        if self.model.conditions:
            given = conditions(batch, self.model.conditions)
            before.append(self.conditions(given).unsqueeze(1))
        first = torch.cat(before, 1)
        layout = Layout.of(batch, first.shape[1])
        bias = None
        if self.model.pairs is not None:
            bias = self.pair_bias(points[:, self.pairs_at], batch, layout)
        x = layout.packed(first, x)
        for block in self.blocks:
            x = block(x, layout.lengths, bias)
        x = self.norm(x)
        parts = list(x[layout.before].split([each.shape[1] for each in before], 1))
        tokens = parts.pop(0)
        of_time = parts.pop(0) if time is not None else None
        return Seen(x[layout.points], tokens, of_time, parts[0] if parts else None)
