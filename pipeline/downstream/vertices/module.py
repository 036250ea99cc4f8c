"""Vertices of jets, found as tracks of points are: by clusters in a learnt space."""

from dataclasses import replace

from torch import Tensor

from pipeline.downstream.clusters import module as clusters
from pipeline.downstream.clusters.module import Placed, build, predict
from pipeline.downstream.vertices.score import groups
from pipeline.downstream.vertices.spec import VertexTask
from pipeline.nn.batch import Batch

__all__ = ["build", "loss", "predict"]


def loss(output: Placed, batch: Batch, task: VertexTask) -> dict[str, Tensor]:
    """Return the loss of the space in which vertices are clusters."""
    group = groups(batch.per_point["vertex"], batch.per_point["charge"])
    truth = replace(batch, per_point={**batch.per_point, "track": group}, known=batch.lengths)
    return clusters.loss(output, truth, task)
