"""What graph networks are made of: sums, means and maxima over edges, and small networks.

Axes: P points, packed · E edges · W width.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn


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
    """Layers of a linear map to `width`, LayerNorm and an activation."""

    def __init__(
        self, inputs: int, width: int, layers: int, activation: type[nn.Module] = nn.SiLU
    ) -> None:
        sizes = [inputs, *[width] * layers]
        super().__init__(
            *(
                part
                for before, after in pairwise(sizes)
                for part in (nn.Linear(before, after), nn.LayerNorm(after), activation())
            )
        )


class OfEdges(nn.Module):
    """`Layered` of both ends of each edge, and of its own state if it has one.

    The first linear map is that of [state of where it begins, of where it ends, its own], taken
    apart: of a point it is computed once, not once for each of its edges.
    """

    def __init__(self, inputs: int, width: int, layers: int, *, state_width: int = 0) -> None:
        super().__init__()
        self.begins = nn.Linear(inputs, width, bias=False)
        self.ends = nn.Linear(inputs, width)
        self.of_state = nn.Linear(state_width, width, bias=False) if state_width else None
        self.first = nn.Sequential(nn.LayerNorm(width), nn.SiLU())
        self.rest = Layered(width, width, layers - 1)

    def forward(self, points: Tensor, edges: Tensor, states: Tensor | None = None) -> Tensor:
        """Return (E, width) of points (P, inputs), edges (2, E), and states (E, state_width)."""
        x = self.begins(points)[edges[0]] + self.ends(points)[edges[1]]
        if self.of_state is not None and states is not None:
            x = x + self.of_state(states)
        made: Tensor = self.rest(self.first(x))
        return made


class Interaction(nn.Module):
    """Edges look at their ends, points at the sum and the maximum of the edges that end there.

    An interaction network (Battaglia et al., arXiv:1612.00222, eqs. 1 and 2) as Exa.TrkX has it
    (arXiv:2103.06995, §2.4); states are added to what they were, and normalised.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.of_edges = OfEdges(width, width, layers, state_width=width)
        self.of_points = Layered(3 * width, width, layers)
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in ("edges", "points")})

    def forward(self, points: Tensor, states: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points (P, W) and the states (E, W) of edges (2, E) after the layer."""
        states = self.norms["edges"](states + self.of_edges(points, edges, states))
        seen = [f(states, edges[1], len(points)) for f in (total, most)]
        points = self.norms["points"](points + self.of_points(torch.cat([points, *seen], 1)))
        return points, states


class Attention(nn.Module):
    """Points look at messages of their edges, with weights that sum to 1 (arXiv:1710.10903, eq. 3).

    A message is a network of both ends; a linear map of it gives the logit of its weight.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.message = OfEdges(width, width, layers)
        self.weight = nn.Linear(width, 1)
        self.of_points = Layered(2 * width, width, layers)
        self.norm = nn.LayerNorm(width)

    def forward(self, points: Tensor, edges: Tensor) -> Tensor:
        """Return the points (P, W) after the layer."""
        message = self.message(points, edges)
        share = shares(self.weight(message).squeeze(1), edges[1], len(points))
        seen = total(share.unsqueeze(1) * message, edges[1], len(points))
        normed: Tensor = self.norm(points + self.of_points(torch.cat([points, seen], 1)))
        return normed
