"""Track finding by clusters in a learnt space, as EggNet does (arXiv:2407.13925).

Axes: P points, packed · D dimensions.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from sklearn.cluster import DBSCAN
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.errors import BadInput
from pipeline.downstream.clusters.spec import ClusterTask
from pipeline.downstream.tracks.score import PREDICTION
from pipeline.families import Family
from pipeline.nn.adapter import Adapter
from pipeline.nn.batch import Batch
from pipeline.nn.graph_losses import within
from pipeline.nn.graphs import Graph, Space, along
from pipeline.nn.hidden import Hidden
from pipeline.nn.space_losses import Contrastive


@dataclass(frozen=True)
class Placed:
    """Where points were put, and the graph that the backbone made of them, if it made one."""

    space: Space
    graph: Graph | None


class Placer(nn.Module):
    """The backbone's layers combined, and a linear map onto a sphere."""

    def __init__(self, model: Family, task: ClusterTask) -> None:
        super().__init__()
        self.loss = Contrastive(task.margin, task.loss_neighbours, task.random_pairs)
        self.columns = model.reads_downstream().columns
        self.adapter = Adapter(model, task.width)
        self.to_space = nn.Linear(task.width, task.dimensions)

    def forward(self, hidden: Hidden, batch: Batch) -> Placed:
        """Return the place (P, D) of each point."""
        coordinates = functional.normalize(self.to_space(self.adapter(hidden.points)), dim=1)
        space = Space(coordinates, along(batch, self.columns), self.loss)
        return Placed(space, hidden.graph)


class AsMade(nn.Module):
    """The space that the backbone has made, with nothing of its own."""

    def forward(self, hidden: Hidden, batch: Batch) -> Placed:
        """Return the place (P, D) of each point."""
        graph = hidden.graph
        if graph is None or graph.space is None:
            message = "head 'clusters': space = \"backbone\" needs the backbone, not its features."
            raise BadInput(message)
        return Placed(graph.space, graph)


def build(task: ClusterTask, model: Family) -> nn.Module:
    """Return the head.

    Raises:
        BadInput: The space is to be that of a backbone which makes none.
    """
    if task.space == "head":
        return Placer(model, task)
    if not model.LEARNS_SPACE:
        message = f"head 'clusters': {task.refuses_mode('', model)}."
        raise BadInput(message)
    return AsMade()


def loss(output: Placed, batch: Batch, task: ClusterTask) -> dict[str, Tensor]:
    """Return the loss of the space, and those of a graph that the backbone has made."""
    own = {"clusters": output.space.loss(output.space, batch)} if task.space == "head" else {}
    return own | within(output.graph, batch)


def predict(output: Placed, batch: Batch, task: ClusterTask) -> dict[str, Tensor]:
    """Return the track that each point was put in (P), counted from 1 in its event; 0 is noise."""
    coordinates = output.space.points.detach().float().cpu().numpy()
    find = DBSCAN(eps=task.radius, min_samples=task.min_points)
    track = np.empty(len(coordinates), np.int64)
    for start, stop in pairwise(batch.offsets.tolist()):
        track[start:stop] = find.fit(coordinates[start:stop]).labels_ + 1
    return {PREDICTION: torch.from_numpy(track)}
