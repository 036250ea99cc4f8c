"""Track finding by learned queries."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import PositiveInt

from pipeline.downstream.predicted import Predicted
from pipeline.downstream.tracking import Tracking

Assignment = Literal["mask-and-class", "mask"]


class TrackTask(Tracking):
    """Learned queries, each of which claims the points of one track (FM4NPP, downstream).

    noise: "thing" takes the noise of an event for one thing more to be found, which is a track
    like any other, as published; with "class" a query may claim noise, and its points are noise.
    assignment: how much a query claims a point, its mask alone or times the certainty of its class.
    """

    TITLE: ClassVar[str] = "track finding"
    SOURCE: ClassVar[str] = "arXiv:2508.14087"

    task: Literal["tracks"] = "tracks"
    queries: PositiveInt = 150
    width: PositiveInt = 256
    inner: PositiveInt = 512
    layers: PositiveInt = 2
    heads: PositiveInt = 8
    noise: Literal["thing", "class"] = "thing"
    assignment: Assignment = "mask-and-class"

    def predictions(self) -> Mapping[str, Predicted]:
        """Return the track of each point, and the confidence of that claim."""
        return {**super().predictions(), "confidence": Predicted("point", unit="1")}
