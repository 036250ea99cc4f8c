"""Track finding by learned queries."""

from typing import ClassVar, Literal

from pydantic import PositiveInt

from pipeline.downstream.tracking import Tracking


class TrackTask(Tracking):
    """Learned queries, each of which claims the points of one track (FM4NPP, downstream)."""

    TITLE: ClassVar[str] = "track finding"
    SOURCE: ClassVar[str] = "arXiv:2508.14087"

    task: Literal["tracks"] = "tracks"
    queries: PositiveInt = 150
    width: PositiveInt = 256
    layers: PositiveInt = 2
    heads: PositiveInt = 8
