"""EggNet: graph attention on graphs that evolve in the space that it learns (arXiv:2407.13925)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from pipeline.families.family import Family, Parameters, Reads, linear
from pipeline.families.graphs import (
    COLUMNS,
    FEATURES,
    TRACK,
    attention,
    attention_products,
    layered,
    layered_products,
)

_PUBLISHED = {"width": 128, "iterations": 8, "layers": 8, "neighbours": 10, "dimensions": 24}


class EggNet(Family):
    """EggNet; each of `iterations` makes a graph of `neighbours` in the space of the one before.

    In it `layers` of graph attention look at the points; every network has `depth` linear layers.
    The space has `dimensions`, of length 1, in which points of two tracks are to be `margin` apart.
    Weights are `shared` by the layers of same number of all iterations, or by all layers.
    """

    TITLE: ClassVar[str] = "EggNet: graph attention on evolving graphs"
    SOURCE: ClassVar[str] = "arXiv:2407.13925 and 2506.03415, as its public settings for TrackML"
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "trackml": _PUBLISHED,
        "one-layer": {**_PUBLISHED, "shared": "everything"},
    }
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("metric",)
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"metric": 1.0}
    TOKENS: ClassVar[float] = 856  # points an event of TPCpp-10M (arXiv:2509.05792)
    NOT_SHAPES: ClassVar[frozenset[str]] = Family.NOT_SHAPES | {"margin"}

    family: Literal["eggnet"] = "eggnet"
    width: PositiveInt
    iterations: PositiveInt = 8
    layers: PositiveInt = 8
    depth: PositiveInt = 3
    neighbours: PositiveInt = 10
    dimensions: PositiveInt = 24
    margin: PositiveFloat = 1.0
    shared: Literal["iterations", "everything", "nothing"] = "iterations"

    @property
    def hidden(self) -> tuple[int, int]:
        """One, the last, and its width."""
        return 1, self.width

    @property
    def distinct(self) -> int:
        """How many layers have weights of their own."""
        one = min(1, self.layers)
        return {
            "nothing": self.iterations * self.layers,
            "iterations": self.layers,
            "everything": one,
        }[self.shared]

    def reads(self) -> Reads:
        """Return the four columns of a space point, and its track."""
        return Reads(COLUMNS, per_point=(TRACK,))

    def reads_downstream(self) -> Reads:
        """Return the four columns of a space point."""
        return Reads(COLUMNS)

    def parameters(self) -> Parameters:
        """Return the count of the encoder, the layers, and the map into the space."""
        layers = self.distinct * attention(self.width, self.depth)
        ends = layered(FEATURES, self.width, self.depth) + linear(self.width, self.dimensions)
        return Parameters(ends + layers)

    def flops_per_token(self, tokens: float) -> float:
        """Return 6 FLOPs for each weight that meets a point or an edge, in all iterations.

        Looking for neighbours costs more, by how a machine does it; nothing flows back through it.
        """
        edges = min(self.neighbours, tokens - 1)
        layer = attention_products(self.width, self.depth, edges)
        places = self.width * self.dimensions
        encoder = layered_products(FEATURES, self.width, self.depth)
        # Nothing flows back from the spaces of earlier iterations, which decide edges alone.
        within = 6.0 * (encoder + self.iterations * self.layers * layer + places)
        return within + 2.0 * self.iterations * places
