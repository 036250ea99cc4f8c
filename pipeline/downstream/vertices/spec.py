"""Vertex finding: which particles of a jet were made at one place."""

from typing import ClassVar, Literal

from pipeline.downstream.clusters.spec import ClusterTask


class VertexTask(ClusterTask):
    """Charged particles of a jet in a learnt space, in which DBSCAN finds vertices.

    The collision is a vertex like the others; what is neutral is of none.
    """

    TITLE: ClassVar[str] = "vertex finding"
    SOURCE: ClassVar[str] = "the task of arXiv:2409.12589, §4; the head is ours"
    PER_POINT: ClassVar[tuple[str, ...]] = ("vertex", "charge")
    SCORES: ClassVar[dict[str, str]] = {
        "ari_particles": "ARI of charged particles",
        "ari": "ARI",
        "track_efficiency": "Vertex efficiency",
        "track_purity": "Vertex purity",
    }
    SMALLER_IS_BETTER: ClassVar[frozenset[str]] = frozenset()

    task: Literal["vertices"] = "vertices"  # type: ignore[assignment]
    min_points: int = 2
