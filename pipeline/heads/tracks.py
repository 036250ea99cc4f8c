"""Track finding: which points belong to one particle."""

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from pipeline.heads.head import Head


class Tracking(Head):
    """What every way to find tracks is scored by."""

    PER_POINT: ClassVar[tuple[str, ...]] = ("track",)
    SHOWN: ClassVar[dict[str, str]] = {
        "ari": "ARI",
        "track_efficiency": "Track efficiency",
        "track_purity": "Track purity",
        "fake_rate": "Fake rate",
        "hit_efficiency": "Hit efficiency",
        "hit_purity": "Hit purity",
        "ari_pooled": "ARI, pooled",
    }
    SMALL: ClassVar[frozenset[str]] = frozenset({"fake_rate"})


class TrackHead(Tracking):
    """Learned queries, each of which claims the points of one track (FM4NPP, downstream)."""

    TITLE: ClassVar[str] = "track finding"
    SOURCE: ClassVar[str] = "arXiv:2508.14087"
    PLACE: ClassVar[str] = "pipeline.training.downstream.tracks"

    task: Literal["tracks"] = "tracks"
    queries: PositiveInt = 150
    width: PositiveInt = 256
    layers: PositiveInt = 2
    heads: PositiveInt = 8


class ClusterHead(Tracking):
    """Points in a learnt space of `dimensions`, in which DBSCAN finds clusters (EggNet).

    Points of two tracks are to be `margin` apart. A cluster grows from points with `min_points`
    within `radius`, themselves among them; a point in none is noise.
    """

    TITLE: ClassVar[str] = "track finding, by clusters"
    SOURCE: ClassVar[str] = "arXiv:2407.13925; DBSCAN: Ester et al., KDD 1996"
    PLACE: ClassVar[str] = "pipeline.training.downstream.clusters"

    task: Literal["clusters"] = "clusters"
    width: PositiveInt = 128
    dimensions: PositiveInt = 24
    margin: PositiveFloat = 1.0
    radius: PositiveFloat = 0.1
    min_points: PositiveInt = 3


class EdgeHead(Tracking):
    """Edges of a graph, of which those that pass a cut join points to tracks (Exa.TrkX).

    The graph is that which the backbone has made; if it makes none, that of the `neighbours` in
    space. An edge of which more than `cut` is said joins both ends; of what is joined, less than
    `min_points` are noise. Networks have `depth` linear layers of `width`.
    """

    TITLE: ClassVar[str] = "track finding, by edges"
    SOURCE: ClassVar[str] = "arXiv:2103.06995"
    PLACE: ClassVar[str] = "pipeline.training.downstream.edges"

    task: Literal["edges"] = "edges"
    width: PositiveInt = 128
    depth: PositiveInt = 3
    neighbours: PositiveInt = 10
    cut: float = Field(default=0.8, ge=0, lt=1)
    min_points: PositiveInt = 3
