"""Track finding: which points belong to one particle."""

from collections.abc import Mapping
from typing import ClassVar

from pipeline.downstream.predicted import Predicted
from pipeline.downstream.task import DownstreamTask


class Tracking(DownstreamTask):
    """What every way to find tracks is scored by."""

    PER_POINT: ClassVar[tuple[str, ...]] = ("track",)
    SCORES: ClassVar[dict[str, str]] = {
        "ari": "ARI",
        "track_efficiency": "Track efficiency",
        "track_purity": "Track purity",
        "fake_rate": "Fake rate",
        "hit_efficiency": "Hit efficiency",
        "hit_purity": "Hit purity",
        "ari_pooled": "ARI, pooled",
    }
    SMALLER_IS_BETTER: ClassVar[frozenset[str]] = frozenset({"fake_rate"})
    SCORED_COLUMNS: ClassVar[frozenset[str] | None] = frozenset({"eta"})
    NOTE: ClassVar[str] = (
        "Efficiency: particles that are reconstructed. Purity: tracks that are matched, by the "
        "rule named below; two_way asks of a track that more than half of its points come from one "
        "particle, and of that particle that more than half of its points are in the track."
    )

    def predictions(self) -> Mapping[str, Predicted]:
        """Return the track of each point, from 1; 0 is noise."""
        return {"track": Predicted("point", bytes=8)}
