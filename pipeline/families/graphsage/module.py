"""GraphSAGE: points look at the mean of their neighbours in space (arXiv:1706.02216).

Axes: P points, packed · W width · E edges · C kinds of particles.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.store import Store
from pipeline.families.graphs import FEATURES
from pipeline.families.graphsage.spec import PARTICLES, GraphSAGE
from pipeline.nn.batch import Batch
from pipeline.nn.graphs import Graph, features, nearest, places
from pipeline.nn.hidden import Hidden, HiddenOf
from pipeline.nn.message_passing import mean


class Layer(nn.Module):
    """A linear map of a point and the mean of its neighbours, ReLU, length 1 (algorithm 1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.map = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return the points (P, W) after the layer."""
        seen = mean(x[edges[0]], edges[1], len(x))
        return functional.normalize(self.map(torch.cat([x, seen], 1)).relu(), dim=1)


class Backbone(nn.Module):
    """A linear map of each point, and layers on the graph of its neighbours in space."""

    def __init__(self, model: GraphSAGE) -> None:
        super().__init__()
        self.model = model
        self.encoder = nn.Linear(FEATURES, model.width)
        self.layers = nn.ModuleList(Layer(model.width) for _ in range(model.layers))

    def forward(self, batch: Batch) -> tuple[Tensor, Graph]:
        """Return the points (P, W), and the graph."""
        edges = nearest(places(batch.points), batch.offsets, self.model.neighbours)
        x = self.encoder(features(batch.points).to(self.encoder.weight.dtype))
        for layer in self.layers:
            x = layer(x, edges)
        return x, Graph(edges)


class Pretrainer(nn.Module):
    """The backbone, and a layer that predicts the kind of particle of each point."""

    def __init__(self, model: GraphSAGE) -> None:
        super().__init__()
        self.backbone = Backbone(model)
        self.classify = nn.Linear(model.width, PARTICLES)

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits (P, C)."""
        logits: Tensor = self.classify(self.backbone(batch)[0])
        return logits


def backbone(model: GraphSAGE, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone, and how a head is given points and their graph."""
    backbone = Backbone(model)

    def hidden_of(batch: Batch) -> Hidden:
        points, graph = backbone(batch)
        return Hidden([points], graph=graph)

    return backbone, hidden_of


def build(model: GraphSAGE, store: Store | None) -> Pretrainer:
    """Return the module; nothing of the store decides its shape."""
    return Pretrainer(model)
