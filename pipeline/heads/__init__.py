"""The downstream tasks. A new one is a declaration here, a line in `Head`, a file of its module.

What a declaration does not say is track finding, the first that there was.
"""

from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field

from pipeline.heads.anomaly import AnomalyHead
from pipeline.heads.events import DirectionHead, JetHead
from pipeline.heads.head import Head as AnyHead
from pipeline.heads.points import ClassHead, MomentumHead, NoiseHead, ParticleHead, PointHead
from pipeline.heads.tracks import ClusterHead, EdgeHead, TrackHead, Tracking
from pipeline.heads.values import ValueHead
from pipeline.heads.vertices import VertexHead

FIRST = "tracks"


def _with_task(given: Any) -> Any:
    """Fill in the task where a declaration does not say it."""
    return {"task": FIRST, **given} if isinstance(given, dict) else given


_Union = Annotated[
    TrackHead
    | ClusterHead
    | EdgeHead
    | ParticleHead
    | NoiseHead
    | MomentumHead
    | JetHead
    | AnomalyHead
    | DirectionHead
    | ValueHead
    | VertexHead,
    Field(discriminator="task"),
]
Head = Annotated[_Union, BeforeValidator(_with_task)]

HEADS: dict[str, type[AnyHead]] = {
    each.model_fields["task"].default: each for each in get_args(get_args(_Union)[0])
}

__all__ = [
    "FIRST",
    "HEADS",
    "AnomalyHead",
    "AnyHead",
    "ClassHead",
    "ClusterHead",
    "DirectionHead",
    "EdgeHead",
    "Head",
    "JetHead",
    "MomentumHead",
    "NoiseHead",
    "ParticleHead",
    "PointHead",
    "TrackHead",
    "Tracking",
    "ValueHead",
    "VertexHead",
]
