"""GraphSAGE: points look at the mean of their neighbours in space (arXiv:1706.02216)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import PositiveInt

from pipeline.families.family import Family, Parameters, Reads, linear
from pipeline.families.graphs import COLUMNS, FEATURES

PARTICLES = 5  # the classes of `pipeline.downstream.points`, which tests compare


class GraphSAGE(Family):
    """GraphSAGE with mean aggregation: `layers` of `width` on a graph of `neighbours` in space.

    All neighbours are looked at, none are drawn. Trained by itself, it predicts the kind of
    particle of each point.
    """

    TITLE: ClassVar[str] = "GraphSAGE: means over neighbours in space"
    SOURCE: ClassVar[str] = "arXiv:1706.02216: depth 2, width 256, 25 neighbours"
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {"width": 256, "layers": 2, "neighbours": 25}
    }
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("particles",)
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"particles": 1.0}
    TOKENS: ClassVar[float] = 856  # points an event of TPCpp-10M (arXiv:2509.05792)

    family: Literal["graphsage"] = "graphsage"
    width: PositiveInt
    layers: PositiveInt = 2
    neighbours: PositiveInt = 25

    @property
    def hidden(self) -> tuple[int, int]:
        """One, the last, and its width."""
        return 1, self.width

    def reads(self) -> Reads:
        """Return the four columns of a space point, and the kind of its particle."""
        return Reads(COLUMNS, per_point=("pid",))

    def reads_downstream(self) -> Reads:
        """Return the four columns of a space point."""
        return Reads(COLUMNS)

    def parameters(self) -> Parameters:
        """Return the count of the encoder, the layers, and the head that predicts particles."""
        ends = linear(FEATURES, self.width) + linear(self.width, PARTICLES)
        return Parameters(ends + self.layers * linear(2 * self.width, self.width))

    def flops_per_token(self, tokens: float) -> float:
        """Return 6 FLOPs for each weight; looking for neighbours and means cost more."""
        ends = FEATURES + PARTICLES
        return 6.0 * self.width * (ends + 2 * self.width * self.layers)
