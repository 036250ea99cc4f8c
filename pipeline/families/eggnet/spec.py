"""EggNet: graph attention on graphs that evolve in the space that it learns (arXiv:2407.13925)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import PositiveFloat, PositiveInt, model_validator

from pipeline.families.family import Family, Parameters, Reads
from pipeline.families.graphs import (
    CELLS,
    COLUMNS,
    PLACE,
    TRACK,
    Activation,
    edge_products,
    features,
    layered,
    products,
)

Network = Literal["encoder", "first", "edges", "points", "decoder"]
Shared = Literal["iterations", "everything", "rounds", "nothing"]
_PUBLISHED = {"width": 128, "iterations": 4, "layers": 8, "neighbours": 10, "dimensions": 24}


class EggNet(Family):
    """EggNet: `iterations`, each on the graph of the `neighbours` in the space of the one before.

    Five networks with `depth` linear layers of `width`: an encoder of points; `first`, for the
    space of the first graph alone; those of edges and points in each of `layers` rounds of graph
    attention; and a decoder into the space, which has one layer. `depths` and `inner` give single
    networks another depth and other hidden channels; a state of an edge has `edge_width`, as many
    as a point by default. The space has `dimensions`, on a sphere if `sphere`.

    Each iteration starts again from the encoder's output if `recycle`, so that it passes on nothing
    but its graph. Networks are shared by the iterations; by rounds, in one iteration; by both, but
    for the edges of the first round ("everything"); or each has its own.

    Points of two tracks are to be `margin` apart; the loss is over `loss_neighbours` of each point
    and `random_pairs` of an event (`pipeline.nn.space_losses`). A network reads the `columns` as
    the store normalises them, but of an azimuth of ours its cosine and sine.
    """

    TITLE: ClassVar[str] = "EggNet: graph attention on evolving graphs"
    HELD_TO: ClassVar[str] = "the outputs of EggNet at e2bd117 within 3e-6"
    SOURCE: ClassVar[str] = "arXiv:2407.13925 and 2506.03415, as its public settings for TrackML"
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "trackml": _PUBLISHED,
        "one-layer": {**_PUBLISHED, "shared": "everything"},
        "trackml-cells": {**_PUBLISHED, "columns": (*PLACE, *CELLS)},
    }
    LEARNS_SPACE: ClassVar[bool] = True
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("metric",)
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"metric": 1.0}
    TOKENS: ClassVar[float] = 856  # points an event of TPCpp-10M (arXiv:2509.05792)
    NOT_SHAPES: ClassVar[frozenset[str]] = Family.NOT_SHAPES | {
        "margin",
        "loss_neighbours",
        "random_pairs",
    }

    family: Literal["eggnet"] = "eggnet"
    columns: tuple[str, ...] = COLUMNS
    width: PositiveInt
    edge_width: PositiveInt | None = None
    depth: PositiveInt = 3
    depths: dict[Network, PositiveInt] = {}
    inner: dict[Network, PositiveInt] = {}
    activation: Activation = "SiLU"
    norm: bool = True
    iterations: PositiveInt = 4
    layers: PositiveInt = 8
    shared: Shared = "iterations"
    recycle: bool = True
    neighbours: PositiveInt = 10
    dimensions: PositiveInt = 24
    space_activation: Activation | Literal["none"] = "Tanh"
    sphere: bool = True
    margin: PositiveFloat = 1.0
    loss_neighbours: PositiveInt = 10
    random_pairs: PositiveInt = 100_000

    @model_validator(mode="after")
    def _rounds_of_one_iteration(self) -> Self:
        """Check that rounds share networks in one iteration, or in all."""
        if self.shared == "rounds" and self.iterations > 1:
            message = (
                f'shared = "rounds" is of one iteration, not of {self.iterations}: the first round '
                'of each needs other widths. Give "everything".'
            )
            raise ValueError(message)
        return self

    @property
    def hidden(self) -> tuple[int, int]:
        """One, the last, and its width."""
        return 1, self.width

    @property
    def of_edges(self) -> int:
        """The channels of the state of an edge."""
        return self.edge_width or self.width

    @property
    def decoders(self) -> int:
        """The number of decoders: one, or one for each graph and one for the result."""
        return 1 if self.shared in ("iterations", "everything") else self.iterations + 1

    def sizes(self, network: Network, *, round_: int = 1) -> tuple[int, ...]:
        """Return the channels before, between and after the linear maps of a network.

        Of edges, those after the first map: what stands before depends on the `round_`.
        """
        width, edges = self.width, self.of_edges
        ends: dict[Network, tuple[int, int]] = {
            "encoder": (features(self.columns), width),
            "first": (width, width),
            "edges": (2 * width + edges * (round_ > 0), edges + 1),
            "points": (width + edges, width),
            "decoder": (width, self.dimensions),
        }
        depth = self.depths.get(network, 1 if network == "decoder" else self.depth)
        inner = self.inner.get(network, width)
        return (ends[network][0], *[inner] * (depth - 1), ends[network][1])

    def networks(self, of: Literal["edges", "points"]) -> tuple[int, ...]:
        """Return the round of each network of edges or points, in their order."""
        rounds = range(self.layers)
        if self.shared == "nothing":
            return tuple(rounds) * self.iterations
        if self.shared == "iterations":
            return tuple(rounds)
        return tuple(rounds)[: 2 if of == "edges" else 1]

    def network_of(self, of: Literal["edges", "points"], iteration: int, round_: int) -> int:
        """Return the index of the network of a round in `networks`."""
        if self.shared == "nothing":
            return iteration * self.layers + round_
        if self.shared == "iterations":
            return round_
        return min(round_, 1) if of == "edges" else 0

    def reads(self) -> Reads:
        """Return the columns of a point, and its track."""
        return Reads(self.columns, per_point=(TRACK,))

    def reads_downstream(self) -> Reads:
        """Return the columns of a point."""
        return Reads(self.columns)

    def parameters(self) -> Parameters:
        """Return the count; what decides graphs alone is frozen, as nothing can train it."""

        def count(network: Network, round_: int = 1) -> int:
            return layered(self.sizes(network, round_=round_), norm=False)

        of_edges = [count("edges", round_) for round_ in self.networks("edges")]
        of_points = [count("points")] * len(self.networks("points"))
        decoders = [count("decoder")] * self.decoders
        last = slice(-self.layers, None) if self._untrained_iterations else slice(None)
        trained = sum((*of_edges[last], *of_points[last], count("encoder"), decoders[-1]))
        first = count("first") if self.layers else 0
        total = sum((*of_edges, *of_points, *decoders, count("encoder"), first))
        trained += 0 if self.recycle else first
        return Parameters(trained, total - trained)

    @property
    def _untrained_iterations(self) -> bool:
        """Whether iterations before the last have networks of their own that nothing trains."""
        return self.recycle and self.shared == "nothing" and self.layers > 0

    def flops_per_token(self, tokens: float) -> float:
        """Return the FLOPs of each weight that meets a point or an edge: 2 forward, 4 backward.

        Nothing flows back through a graph, so nothing of what decides graphs alone. The search for
        neighbours costs more, by how a machine does it.
        """
        edges, width = min(self.neighbours, tokens - 1), self.width
        place, encoder = products(self.sizes("decoder")), products(self.sizes("encoder"))
        rounds = 0.0
        for round_ in range(self.layers):
            sizes = self.sizes("edges", round_=round_)[1:]
            state = self.of_edges if round_ else 0
            rounds += edge_products(width, state, sizes, edges) + products(self.sizes("points"))
        iterations = self.iterations if self.layers else 0
        first = products(self.sizes("first")) if self.layers else 0
        forward = encoder + first + iterations * (rounds + place) + place
        backward = encoder + (1 if self.recycle else iterations) * rounds + place
        return 2.0 * forward + 4.0 * (backward + (0 if self.recycle else first))
