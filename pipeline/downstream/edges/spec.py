"""Track finding by edges of a graph."""

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from pipeline.downstream.tracking import Tracking


class EdgeTask(Tracking):
    """Edges of a graph, of which those that pass a cut join points to tracks (Exa.TrkX).

    The graph is that which the backbone has made; if it makes none, that of the `neighbours` in
    space. An edge is scored in both directions and joins its ends if one score exceeds `cut`; of
    what is joined, less than `min_points` are noise. The network has `depth` hidden layers of
    `width`. A true edge counts `true_weight` times in the loss.
    """

    TITLE: ClassVar[str] = "track finding, by edges"
    SOURCE: ClassVar[str] = "arXiv:2103.06995"

    task: Literal["edges"] = "edges"
    width: PositiveInt = 128
    depth: PositiveInt = 3
    neighbours: PositiveInt = 10
    true_weight: PositiveFloat = 2.0
    cut: float = Field(default=0.8, ge=0, lt=1)
    min_points: PositiveInt = 3
