"""Exa.TrkX: a learnt space, a filter of edges, an interaction network (arXiv:2103.06995)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from pipeline.families.family import Family, Parameters, Reads, linear
from pipeline.families.graphs import (
    COLUMNS,
    FEATURES,
    TRACK,
    WAYS,
    interaction,
    interaction_products,
    layered,
    layered_products,
)

_PUBLISHED = {
    "embedding_width": 1024,
    "embedding_layers": 4,
    "filter_width": 1024,
    "filter_layers": 3,
    "neighbours": 100,
    "layers": 8,
}


class ExaTrkX(Family):
    """Exa.TrkX's three stages, each of which looks at the points anew.

    A network of `embedding_layers` puts points into a space of `dimensions`, where those nearer
    than `radius`, `neighbours` at most, are joined. A filter keeps the edges of which it says more
    than `filter_cut`. `layers` of an interaction network of `width` channels, each network of
    `depth` linear layers, look at what is left; the layers have the same weights if `shared`.
    Points of two tracks are to be `margin` apart in the space.
    """

    TITLE: ClassVar[str] = "Exa.TrkX: metric learning, filter, interaction network"
    SOURCE: ClassVar[str] = "arXiv:2103.06995, as its public settings for TrackML"
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quickstart": {**_PUBLISHED, "width": 128},
        "trackml": {**_PUBLISHED, "width": 64},
    }
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("metric", "filtered", "edges")
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = dict.fromkeys(OBJECTIVES, 1.0)
    TOKENS: ClassVar[float] = 856  # points an event of TPCpp-10M (arXiv:2509.05792)
    NOT_SHAPES: ClassVar[frozenset[str]] = Family.NOT_SHAPES | {"margin"}

    family: Literal["exatrkx"] = "exatrkx"
    width: PositiveInt
    layers: PositiveInt = 8
    depth: PositiveInt = 3
    shared: bool = True
    embedding_width: PositiveInt
    embedding_layers: PositiveInt = 4
    dimensions: PositiveInt = 12
    margin: PositiveFloat = 0.1
    radius: PositiveFloat = 0.1
    neighbours: PositiveInt = 100
    filter_width: PositiveInt
    filter_layers: PositiveInt = 3
    filter_cut: float = Field(default=0.15, ge=0, lt=1)

    @property
    def hidden(self) -> tuple[int, int]:
        """One, the last, and its width."""
        return 1, self.width

    @property
    def distinct(self) -> int:
        """How many layers have weights of their own."""
        return min(1, self.layers) if self.shared else self.layers

    def reads(self) -> Reads:
        """Return the four columns of a space point, and its track."""
        return Reads(COLUMNS, per_point=(TRACK,))

    def reads_downstream(self) -> Reads:
        """Return the four columns of a space point."""
        return Reads(COLUMNS)

    def parameters(self) -> Parameters:
        """Return the count of the three stages with the head that classifies edges."""
        return Parameters(self.backbone_parameters() + self._classifier())

    def backbone_parameters(self) -> int:
        """Return the count of the three stages."""
        embedding = layered(FEATURES, self.embedding_width, self.embedding_layers)
        embedding += linear(self.embedding_width, self.dimensions)
        kept = layered(2 * FEATURES + WAYS, self.filter_width, self.filter_layers)
        kept += linear(self.filter_width, 1)
        encoders = layered(FEATURES, self.width, self.depth)
        encoders += layered(2 * self.width + WAYS, self.width, self.depth)
        return embedding + kept + encoders + self.distinct * interaction(self.width, self.depth)

    def _classifier(self) -> int:
        return layered(3 * self.width, self.width, self.depth) + linear(self.width, 1)

    def flops_per_token(self, tokens: float) -> float:
        """Return 6 FLOPs for each weight that meets a point or an edge, at most.

        That is, if each point has `neighbours` edges both ways and the filter keeps them all, as
        it does before it has learnt. Looking for neighbours costs more.
        """
        edges = min(2 * self.neighbours, tokens - 1)
        embedding = layered_products(FEATURES, self.embedding_width, self.embedding_layers)
        embedding += self.embedding_width * self.dimensions
        of_pair = layered_products(self.filter_width, self.filter_width, self.filter_layers - 1)
        kept = 2 * FEATURES * self.filter_width + edges * (of_pair + self.filter_width * (WAYS + 1))
        width, depth = self.width, self.depth
        encoder = layered_products(FEATURES, width, depth) + 2 * width**2
        encoders = encoder + edges * (WAYS * width + layered_products(width, width, depth - 1))
        head = 2 * width**2 + edges * (layered_products(width, width, depth) + width)
        among = self.layers * interaction_products(width, depth, edges)
        return 6.0 * (embedding + kept + encoders + among + head)
