"""Track finding by clusters in a learned space."""

from typing import ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from pipeline.downstream.tracking import Tracking


class ClusterTask(Tracking):
    """Points in a learnt space of `dimensions`, in which DBSCAN finds clusters (EggNet).

    Points of two tracks are to be `margin` apart. A cluster grows from points with `min_points`
    within `radius`, themselves among them; a point in none is noise.
    """

    TITLE: ClassVar[str] = "track finding, by clusters"
    SOURCE: ClassVar[str] = "arXiv:2407.13925; DBSCAN: Ester et al., KDD 1996"

    task: Literal["clusters"] = "clusters"
    width: PositiveInt = 128
    dimensions: PositiveInt = 24
    margin: PositiveFloat = 1.0
    radius: PositiveFloat = 0.1
    min_points: PositiveInt = 3
