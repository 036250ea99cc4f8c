"""Track finding by edges that join points, as Exa.TrkX does (arXiv:2103.06995, §2.5).

Axes: P points, packed · E edges.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from pipeline.data.errors import BadInput
from pipeline.downstream.edges.spec import EdgeTask
from pipeline.downstream.tracks.score import PREDICTION
from pipeline.families import Family
from pipeline.families.exatrkx.spec import ExaTrkX
from pipeline.families.graphs import COLUMNS
from pipeline.nn.adapter import Adapter
from pipeline.nn.batch import Batch
from pipeline.nn.graph_losses import edges, within
from pipeline.nn.graphs import Graph, both_ways, nearest, places
from pipeline.nn.hidden import Hidden
from pipeline.nn.message_passing import EdgeClassifier


class Joiner(nn.Module):
    """What classifies edges, from the backbone's layers combined.

    On Exa.TrkX it reads the states of points and edges as they are, as the authors' does.
    """

    def __init__(self, model: Family, task: EdgeTask) -> None:
        super().__init__()
        self.neighbours, self.true_weight = task.neighbours, task.true_weight
        own = isinstance(model, ExaTrkX)
        self.adapter = None if own else Adapter(model, task.width)
        features = model.hidden[1] if own else task.width
        states = features if own else 0
        self.classify = EdgeClassifier(features, task.width, task.depth, state_width=states)

    def forward(self, hidden: Hidden, batch: Batch) -> Graph:
        """Return the graph with logits of its edges, each direction by itself."""
        graph = hidden.graph
        if graph is None:
            graph = Graph(nearest(places(batch.points), batch.offsets, self.neighbours))
        if graph.states is None:
            graph = replace(graph, edges=both_ways(graph.edges, len(batch.points)))
        points = hidden.points[-1] if self.adapter is None else self.adapter(hidden.points)
        logits = self.classify(points, graph.edges, graph.states)
        return replace(graph, logits=logits, true_weight=self.true_weight)


def build(task: EdgeTask, model: Family) -> nn.Module:
    """Return the task.

    Raises:
        BadInput: The points of the model's experiment have no position in space.
    """
    if not model.LEARNS_SPACE and model.reads_downstream().columns != COLUMNS:
        message = (
            f"head 'edges' looks for neighbours in {', '.join(COLUMNS[1:])}; this model reads "
            f"{', '.join(model.reads_downstream().columns)}. Take head 'clusters'."
        )
        raise BadInput(message)
    return Joiner(model, task)


def loss(output: Graph, batch: Batch, task: EdgeTask) -> dict[str, Tensor]:
    """Return the loss of the edges, and those of a graph that the backbone has made."""
    return edges(output, batch) | within(output, batch)


def predict(output: Graph, batch: Batch, task: EdgeTask) -> dict[str, Tensor]:
    """Return the track that each point was put in (P), counted from 1 in its event; 0 is noise."""
    logits = torch.empty(0) if output.logits is None else output.logits
    kept = output.edges[:, logits.float().sigmoid() > task.cut].cpu().numpy()
    track = joined(kept, batch.offsets.cpu().numpy(), task.min_points)
    return {PREDICTION: torch.from_numpy(track)}


def joined(
    kept: NDArray[np.int64], offsets: NDArray[np.int64], min_points: int
) -> NDArray[np.int64]:
    """Return the track (P) of points that edges (2, E) join, counted from 1 in each event.

    0 where less than `min_points` are joined.
    """
    points = int(offsets[-1])
    matrix = coo_array((np.ones(kept.shape[1], bool), tuple(kept)), shape=(points, points))
    _, part = connected_components(matrix, directed=False)
    large = np.bincount(part, minlength=points)[part] >= min_points
    # Parts are numbered by their first point, so those of an event one after another.
    track = np.zeros(points, np.int64)
    for start, stop in pairwise(offsets):
        here = large[start:stop]
        track[start:stop][here] = np.unique(part[start:stop][here], return_inverse=True)[1] + 1
    return track
