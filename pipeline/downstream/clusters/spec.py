"""Track finding by clusters in a learned space."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from pipeline.downstream.tracking import Tracking

if TYPE_CHECKING:
    from pipeline.families import Family


class ClusterTask(Tracking):
    """Points in a learnt space of `dimensions`, in which DBSCAN finds clusters (EggNet).

    The `space` is that of the "head", on any backbone, or that of a "backbone" which makes one, as
    published; then the head has no weights of its own. Points of two tracks are to be `margin`
    apart, in EggNet's loss over `loss_neighbours` of each point and `random_pairs` of an event. A
    cluster grows from points with `min_points` within `radius`, themselves among them; a point in
    none is noise.
    """

    TITLE: ClassVar[str] = "track finding, by clusters"
    SOURCE: ClassVar[str] = "arXiv:2407.13925; DBSCAN: Ester et al., KDD 1996"

    task: Literal["clusters"] = "clusters"
    space: Literal["head", "backbone"] = "head"
    width: PositiveInt = 128
    dimensions: PositiveInt = 24
    margin: PositiveFloat = 1.0
    loss_neighbours: PositiveInt = 10
    random_pairs: PositiveInt = 100_000
    radius: PositiveFloat = 0.1
    min_points: PositiveInt = 3

    def refuses_mode(self, mode: str, model: "Family") -> str:
        """Return why the clusters cannot be those of the backbone's space."""
        if self.space == "head":
            return ""
        if not model.LEARNS_SPACE:
            return f'{model.TITLE} makes no space: give space = "head"'
        return 'space = "backbone" leaves nothing to train' if mode == "frozen" else ""
