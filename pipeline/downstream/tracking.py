"""Track finding: which points belong to one particle."""

from typing import ClassVar

from pipeline.downstream.task import Head


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
