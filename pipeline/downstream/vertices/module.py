"""Vertices of jets, found as tracks of points are: by clusters in a learnt space.

Axes: P particles, packed.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from pipeline.downstream.clusters import module as clusters
from pipeline.downstream.clusters.module import Placed, answer, build
from pipeline.downstream.tracks.module import TOLD
from pipeline.downstream.truth import Rows, Truth
from pipeline.downstream.vertices.spec import VertexHead
from pipeline.evaluation.result import Look
from pipeline.evaluation.tracks import look_of_tracks
from pipeline.nn.batch import Batch

__all__ = ["answer", "build", "loss", "score"]


def groups(vertex: Any, charge: Any) -> Any:
    """Return the group of each particle (P), from 1; 0 of what is neutral and has no track."""
    return (vertex + 1) * (charge != 0)


def loss(output: Placed, batch: Batch, head: VertexHead) -> dict[str, Tensor]:
    """Return the loss of the space in which vertices are clusters."""
    group = groups(batch.per_point["vertex"], batch.per_point["charge"])
    truth = replace(batch, per_point={**batch.per_point, "track": group})
    return clusters.loss(output, truth, head)


def score(told: Rows, truth: Truth, head: VertexHead, seed: int) -> Look:  # noqa: ARG001
    """Return the scores of vertices, of charged particles alone."""
    group = groups(truth.per_point["vertex"].astype(np.int64), truth.per_point["charge"])
    return look_of_tracks(group, told[TOLD] * (group > 0), truth.offsets, seed=seed)
