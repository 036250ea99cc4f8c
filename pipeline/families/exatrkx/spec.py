"""Exa.TrkX: a learnt space, a filter of edges, an interaction network (arXiv:2103.06995)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pipeline.families.family import Family, Parameters, Reads, Together
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

Regime = Literal["rp", "hnm", "norm"]
_EMBEDDING = {"embedding_width": 1024, "embedding_layers": 4, "neighbours": 100}
_QUICKSTART = {**_EMBEDDING, "width": 128, "layers": 6}


class ExaTrkX(Family):
    """Exa.TrkX's stages, each of which reads the points anew.

    A network of `embedding_layers` puts points into a space of `dimensions`, where those nearer
    than `radius`, `neighbours` at most, are joined. With a `filter_width` a filter keeps the edges
    whose score exceeds `filter_cut`, in one direction or both. `layers` iterations of one
    interaction network of `width` channels, with networks of `depth` linear layers (of
    `edge_depth`, if given, for edges), classify what is left, each direction of an edge by itself.

    Points of two tracks are to be `margin` apart. `regime` is how the space is trained: with random
    pairs ("rp", `random_pairs` for each end of a true edge), with near ones ("hnm"), on a sphere
    ("norm"). True pairs count `space_weight`, `filter_weight` and `edge_weight` times in the losses
    of the stages. `filter_norms` are behind each hidden layer of the filter, one of each kind
    for all; "batch" takes its statistics from the edges at hand, so that a score depends on them.

    Embedding and filter read the `columns`, the interaction network `network_columns` of them, all
    if there are none; as the store normalises them, but of an azimuth of ours cosine and sine.
    """

    TITLE: ClassVar[str] = "Exa.TrkX: metric learning, filter, interaction network"
    HELD_TO: ClassVar[str] = "the outputs of Tracking-ML-Exa.TrkX at fd0b405 within 2e-6"
    SOURCE: ClassVar[str] = "arXiv:2103.06995, as its public settings for TrackML"
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quickstart": _QUICKSTART,
        "trackml": {**_EMBEDDING, "width": 64, "layers": 8, "filter_width": 512},
        "quickstart-cells": {
            **_QUICKSTART,
            "columns": (*CELLS, *PLACE),
            "network_columns": PLACE,
        },
    }
    LEARNS_SPACE: ClassVar[bool] = True
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("metric", "filtered", "edges")
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = dict.fromkeys(OBJECTIVES, 1.0)
    TOKENS: ClassVar[float] = 856  # points an event of TPCpp-10M (arXiv:2509.05792)
    NOT_SHAPES: ClassVar[frozenset[str]] = Family.NOT_SHAPES | {
        "margin",
        "random_pairs",
        "space_weight",
        "filter_weight",
        "edge_weight",
    }

    family: Literal["exatrkx"] = "exatrkx"
    columns: tuple[str, ...] = COLUMNS
    network_columns: tuple[str, ...] = ()
    width: PositiveInt
    layers: PositiveInt = 6
    depth: PositiveInt = 3
    edge_depth: PositiveInt | None = None
    activation: Activation = "SiLU"
    norm: bool = True
    aggregation: Literal["sum_max", "sum", "max"] = "sum_max"
    edge_weight: PositiveFloat = 2.0
    embedding_width: PositiveInt
    embedding_layers: PositiveInt = 4
    embedding_activation: Activation = "Tanh"
    dimensions: PositiveInt = 12
    regime: tuple[Regime, ...] = ("rp", "hnm", "norm")
    margin: PositiveFloat = 0.1
    radius: PositiveFloat = 0.1
    neighbours: int = Field(default=100, ge=2)
    random_pairs: PositiveInt = 2
    space_weight: PositiveFloat = 2.0
    filter_width: PositiveInt | None = None
    filter_layers: PositiveInt = 3
    filter_norms: tuple[Literal["layer", "batch"], ...] = ("layer",)
    filter_cut: float = Field(default=0.15, ge=0, lt=1)
    filter_weight: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _columns_of_the_network(self) -> Self:
        """Check that the interaction network reads columns that the model reads."""
        unknown = [name for name in self.network_columns if name not in self.columns]
        if unknown:
            message = f"network_columns: {unknown[0]} is none of columns {', '.join(self.columns)}"
            raise ValueError(message)
        return self

    @property
    def hidden(self) -> tuple[int, int]:
        """One, the last, and its width."""
        return 1, self.width

    @property
    def read_by_network(self) -> tuple[str, ...]:
        """The columns that the interaction network reads."""
        return self.network_columns or self.columns

    @property
    def sizes_of_embedding(self) -> tuple[int, ...]:
        """The channels before, between and after the linear maps of the embedding."""
        inner = [self.embedding_width] * self.embedding_layers
        return (features(self.columns), *inner, self.dimensions)

    @property
    def taken_together(self) -> Together | None:
        """The filter's batch norm, of the edges at hand."""
        return Together("the filter's batch norm") if "batch" in self.filter_norms else None

    def sizes(self, network: Literal["points", "edges"], inputs: int = 0) -> tuple[int, ...]:
        """Return the channels of a network of the third stage, after `inputs` if there are any."""
        depth = self.depth if network == "points" else self.edge_depth or self.depth
        return (*[inputs] * (inputs > 0), *[self.width] * depth)

    def reads(self) -> Reads:
        """Return the columns of a point, and its track."""
        return Reads(self.columns, per_point=(TRACK,))

    def reads_downstream(self) -> Reads:
        """Return the columns of a point."""
        return Reads(self.columns)

    def parameters(self) -> Parameters:
        """Return the count of the stages; a norm of the filter that is not used is frozen."""
        width, norm = self.width, self.norm
        count = layered(self.sizes_of_embedding, norm=True)
        count += layered(self.sizes("points", features(self.read_by_network)), norm=norm)
        count += layered(self.sizes("edges", 2 * width), norm=norm)
        if self.layers:
            count += layered(self.sizes("points", self._seen), norm=norm)
            count += layered(self.sizes("edges", 3 * width), norm=norm)
        count += layered((*self.sizes("edges", 3 * width), 1), norm=norm)
        inner = self.filter_width
        if inner is None:
            return Parameters(count)
        maps = (2 * features(self.columns), *[inner] * self.filter_layers, 1)
        used = len(set(self.filter_norms))
        count += layered(maps, norm=False)
        return Parameters(count + used * 2 * inner, (2 - used) * 2 * inner)

    @property
    def _seen(self) -> int:
        """The inputs of the network of points: a point, sum and maximum of its edges."""
        return self.width * (3 if self.aggregation == "sum_max" else 2)

    def flops_per_token(self, tokens: float) -> float:
        """Return 6 FLOPs for each weight that meets a point or an edge, at most.

        That is, if each point has `neighbours` edges both ways and the filter keeps them all, as
        it does before it has learnt. The search for neighbours costs more.
        """
        edges, width = min(2 * self.neighbours, tokens - 1), self.width
        cost: float = products(self.sizes_of_embedding)
        if self.filter_width is not None:
            inner = (*[self.filter_width] * self.filter_layers, 1)
            cost += edge_products(features(self.columns), 0, inner, edges)
        cost += products(self.sizes("points", features(self.read_by_network)))
        cost += edge_products(width, 0, self.sizes("edges"), edges)
        step = edge_products(width, width, self.sizes("edges"), edges)
        step += products(self.sizes("points", self._seen))
        head = edge_products(width, width, (*self.sizes("edges"), 1), edges)
        return 6.0 * (cost + self.layers * step + head)
