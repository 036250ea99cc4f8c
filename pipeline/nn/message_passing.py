"""Parts of graph networks: sums, means and maxima over edges, and small networks.

Axes: P points, packed · E edges · W width · F features of a point.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Norm = Literal["affine", "plain", "none"]
Aggregation = Literal["sum_max", "sum", "max"]


def total(values: Tensor, into: Tensor, points: int) -> Tensor:
    """Return the sum (P, ...) of the values (E, ...) of the edges that end at each point."""
    return values.new_zeros(points, *values.shape[1:]).index_add(0, into, values)


def mean(values: Tensor, into: Tensor, points: int) -> Tensor:
    """Return the mean (P, W) of the values (E, W) of the edges that end at a point, 0 without."""
    count = total(torch.ones_like(into, dtype=values.dtype), into, points)
    return total(values, into, points) / count.clamp(min=1).unsqueeze(1)


def most(values: Tensor, into: Tensor, points: int) -> Tensor:
    """Return the maximum (P, W) of the values (E, W) of the edges that end at a point, else 0."""
    where = into.unsqueeze(1).expand_as(values)
    zeros = values.new_zeros(points, values.shape[1])
    return zeros.scatter_reduce(0, where, values, "amax", include_self=False)


def shares(logits: Tensor, into: Tensor, points: int) -> Tensor:
    """Return the softmax (E) of `logits` (E) over the edges that end at the same point."""
    largest = logits.new_zeros(points).scatter_reduce(
        0, into, logits.detach(), "amax", include_self=False
    )
    weight = (logits - largest[into]).exp()
    return weight / total(weight, into, points)[into]


class Layered(nn.Sequential):
    """Linear maps from each of `sizes` to the next; a norm and an activation after all but one.

    The last map is bare, or has `last` behind it, never a norm. `norm` is a LayerNorm with weights
    ("affine") or without ("plain").
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: type[nn.Module] = nn.SiLU,
        *,
        norm: Norm = "affine",
        last: type[nn.Module] | None = None,
    ) -> None:
        super().__init__(*_parts(sizes, activation, norm, last))


def _parts(
    sizes: Sequence[int], activation: type[nn.Module], norm: Norm, last: type[nn.Module] | None
) -> Iterator[nn.Module]:
    final = len(sizes) - 2
    for number, (before, after) in enumerate(pairwise(sizes)):
        yield nn.Linear(before, after)
        if number < final and norm != "none":
            yield nn.LayerNorm(after, elementwise_affine=norm == "affine")
        if number < final:
            yield activation()
        elif last is not None:
            yield last()


class OfEdges(nn.Module):
    """`Layered` of [the point where an edge begins, the one where it ends, its own state].

    The first linear map is taken apart: of a point it is computed once, not for each of its edges.
    """

    def __init__(
        self,
        features: int,
        sizes: Sequence[int],
        activation: type[nn.Module] = nn.SiLU,
        *,
        state_width: int = 0,
        norm: Norm = "affine",
        last: type[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        sizes = (2 * features + state_width, *sizes)
        self.maps = Layered(sizes, activation, norm=norm, last=last)

    def forward(self, points: Tensor, edges: Tensor, states: Tensor | None = None) -> Tensor:
        """Return (E, W) of points (P, F), edges (2, E), and states (E, state_width) if any."""
        first, *rest = self.maps
        assert isinstance(first, nn.Linear)
        x = of_ends(points, edges, first)
        if states is not None:
            x = x + functional.linear(states, first.weight[:, 2 * self.features :])
        for layer in rest:
            x = layer(x)
        return x


def of_ends(points: Tensor, edges: Tensor, first: nn.Linear) -> Tensor:
    """Return a linear map (E, W) of both ends of edges (2, E) side by side, of points (P, F)."""
    features = points.shape[1]
    begins, ends = first.weight[:, :features], first.weight[:, features : 2 * features]
    at_begin = functional.linear(points, begins)
    return at_begin[edges[0]] + functional.linear(points, ends, first.bias)[edges[1]]


class EdgeClassifier(nn.Module):
    """The logit of each edge from both ends and its state: hidden layers of `width`, then one."""

    def __init__(
        self,
        features: int,
        width: int,
        layers: int,
        activation: type[nn.Module] = nn.SiLU,
        *,
        state_width: int = 0,
        norm: Norm = "affine",
    ) -> None:
        super().__init__()
        sizes = [width] * layers + [1]
        self.net = OfEdges(features, sizes, activation, state_width=state_width, norm=norm)

    def forward(self, points: Tensor, edges: Tensor, states: Tensor | None = None) -> Tensor:
        """Return the logits (E) of edges (2, E) between points (P, F)."""
        logits: Tensor = self.net(points, edges, states)
        return logits.squeeze(1)


class Interaction(nn.Module):
    """A step of an interaction network: points and edges are updated from the state before it.

    Points see the maximum and the sum of the edges that end at them, edges their two ends; what
    the networks give is added (Battaglia et al., arXiv:1612.00222, eqs. 1 and 2, as Exa.TrkX has
    it, arXiv:2103.06995, §2.4).
    """

    def __init__(self, edges: OfEdges, points: Layered, aggregation: Aggregation) -> None:
        super().__init__()
        self.of_edges = edges
        self.of_points = points
        self.aggregation = aggregation

    def forward(self, points: Tensor, states: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points (P, W) and the states (E, W) of edges (2, E) after the step."""
        ways = {"sum_max": (most, total), "sum": (total,), "max": (most,)}[self.aggregation]
        seen = [way(states, edges[1], len(points)) for way in ways]
        after = points + self.of_points(torch.cat([points, *seen], 1))
        return after, states + self.of_edges(points, edges, states)


def attend(
    points: Tensor, states: Tensor | None, edges: Tensor, of_edges: nn.Module, of_points: nn.Module
) -> tuple[Tensor, Tensor]:
    """Return the points (P, W) and the states (E, W) of edges after a round of graph attention.

    The last output of `of_edges` is the logit of an edge's weight, the others are its state. A
    point sees the mean of the states that end at it, with weights that sum to 1 (EggNet,
    arXiv:2407.13925); nothing is added to what was there before.
    """
    made = of_edges(points, edges, states)
    states = made[:, :-1]
    share = shares(made[:, -1], edges[1], len(points))
    seen = total(share.unsqueeze(1) * states, edges[1], len(points))
    after: Tensor = of_points(torch.cat([points, seen], 1))
    return after, states
