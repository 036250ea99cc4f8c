"""Track finding: which points belong to one particle."""

from typing import ClassVar, Literal

from pydantic import PositiveInt

from pipeline.heads.head import Head


class TrackHead(Head):
    """Learned queries, each of which claims the points of one track (FM4NPP, downstream)."""

    TITLE: ClassVar[str] = "track finding"
    SOURCE: ClassVar[str] = "arXiv:2508.14087"
    PLACE: ClassVar[str] = "pipeline.training.downstream.tracks"
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

    task: Literal["tracks"] = "tracks"
    queries: PositiveInt = 150
    width: PositiveInt = 256
    layers: PositiveInt = 2
    heads: PositiveInt = 8
