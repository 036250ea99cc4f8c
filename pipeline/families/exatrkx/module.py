"""Exa.TrkX: a learnt space, a filter of edges, an interaction network (arXiv:2103.06995, §2).

No gradient flows from one stage to another: each looks at the points anew, on the edges that the
stage before left. Edges go both ways, and of both the same is said, so that no point comes first.

Axes: P points, packed · F features · W width · E edges.
"""

from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.store import Store
from pipeline.families.exatrkx.spec import ExaTrkX
from pipeline.families.graphs import FEATURES, WAYS
from pipeline.nn.batch import Batch
from pipeline.nn.graphs import (
    Candidates,
    Graph,
    Space,
    both_ways,
    features,
    nearest,
    way_back,
    ways,
)
from pipeline.nn.hidden import Hidden, HiddenOf
from pipeline.nn.message_passing import Interaction, Layered, OfEdges


class Classifier(nn.Module):
    """The logit of each edge, the mean of what is said of it and of its way back."""

    def __init__(self, inputs: int, width: int, layers: int, *, state_width: int = 0) -> None:
        super().__init__()
        self.net = OfEdges(inputs, width, layers, state_width=state_width)
        self.out = nn.Linear(width, 1)

    def forward(self, points: Tensor, edges: Tensor, states: Tensor | None = None) -> Tensor:
        """Return the logits (E) of edges (2, E), each with its way back among them."""
        logits = self.out(self.net(points, edges, states)).squeeze(1)
        return (logits + logits[way_back(edges, len(points))]) / 2


class Embedding(nn.Module):
    """The first stage: where each point is put, on a sphere."""

    def __init__(self, model: ExaTrkX) -> None:
        super().__init__()
        width = model.embedding_width
        self.net = Layered(FEATURES, width, model.embedding_layers, nn.Tanh)
        self.to_space = nn.Linear(width, model.dimensions)

    def forward(self, x: Tensor) -> Tensor:
        """Return the coordinates (P, D) of points (P, F)."""
        return functional.normalize(self.to_space(self.net(x)), dim=1)


class Backbone(nn.Module):
    """The three stages, up to the states of points and edges."""

    def __init__(self, model: ExaTrkX) -> None:
        super().__init__()
        self.model = model
        self.embedding = Embedding(model)
        self.filter = Classifier(
            FEATURES, model.filter_width, model.filter_layers, state_width=WAYS
        )
        self.of_points = Layered(FEATURES, model.width, model.depth)
        self.of_edges = OfEdges(model.width, model.width, model.depth, state_width=WAYS)
        self.layers = nn.ModuleList(
            Interaction(model.width, model.depth) for _ in range(model.distinct)
        )

    def forward(self, batch: Batch) -> tuple[Tensor, Graph]:
        """Return the points (P, W), and the graph that is left, with the states of its edges."""
        model, x = self.model, features(batch.points).to(self.filter.out.weight.dtype)
        space = self.embedding(x)
        near = nearest(space, batch.offsets, model.neighbours, model.radius)
        near = both_ways(near, len(x))
        along = ways(batch.points, near).to(x.dtype)
        logits = self.filter(x, near, along)
        kept = logits.float().sigmoid() > model.filter_cut
        edges, points = near[:, kept], self.of_points(x)
        states = self.of_edges(points, edges, along[kept])
        for step in range(model.layers):
            points, states = self.layers[step % model.distinct](points, states, edges)
        return points, Graph(
            edges,
            Space(space, model.margin, "hinge"),
            states,
            candidates=Candidates(near, logits),
        )


class Pretrainer(nn.Module):
    """The backbone, and what says of each edge that is left whether it is of one track."""

    def __init__(self, model: ExaTrkX) -> None:
        super().__init__()
        self.backbone = Backbone(model)
        self.classify = Classifier(model.width, model.width, model.depth, state_width=model.width)

    def forward(self, batch: Batch) -> Graph:
        """Return the graph that is left, with logits of its edges."""
        points, graph = self.backbone(batch)
        return replace(graph, logits=self.classify(points, graph.edges, graph.states))


def backbone(model: ExaTrkX, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone, and how a head is given points and the graph that is left."""
    backbone = Backbone(model)

    def hidden_of(batch: Batch) -> Hidden:
        points, graph = backbone(batch)
        return Hidden([points], graph=graph)

    return backbone, hidden_of


def build(model: ExaTrkX, store: Store | None) -> Pretrainer:
    """Return the module; nothing of the store decides its shape."""
    return Pretrainer(model)
