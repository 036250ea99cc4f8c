"""Exa.TrkX: a learnt space, a filter of edges, an interaction network (arXiv:2103.06995, §2).

Written from the equations of the authors' code (Tracking-ML-Exa.TrkX at fd0b405,
Pipelines/TrackML_Example/LightningModules), to whose outputs tests hold each stage. The authors
train the stages one after the other; here they are trained together, and no gradient flows from one
to another: each reads the points anew, on the edges that the stage before left.

Axes: P points, packed · F features · W width · D dimensions of the space · E edges.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.store import Store
from pipeline.families.exatrkx.spec import ExaTrkX
from pipeline.families.graphs import features
from pipeline.nn.batch import Batch
from pipeline.nn.graphs import (
    Candidates,
    Graph,
    Space,
    along,
    both_ways,
    inputs,
    nearest,
    way_back,
)
from pipeline.nn.hidden import Hidden, HiddenOf
from pipeline.nn.message_passing import (
    EdgeClassifier,
    Interaction,
    Layered,
    Norm,
    OfEdges,
    of_ends,
)
from pipeline.nn.space_losses import Hinge

EPSILON = 1e-5  # torch's in norms


class Embedding(nn.Module):
    """The first stage: the place of each point, on a sphere if the regime has "norm"."""

    def __init__(self, model: ExaTrkX) -> None:
        super().__init__()
        self.sphere = "norm" in model.regime
        activation = getattr(nn, model.embedding_activation)
        self.net = Layered(model.sizes_of_embedding, activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return the coordinates (P, D) of points (P, F)."""
        place: Tensor = self.net(x)
        return functional.normalize(place, dim=1) if self.sphere else place


class Filter(nn.Module):
    """The second stage: the logit of each edge from its two ends.

    Norms stand behind the activations; each kind has one set of weights for all layers, which is
    frozen where the kind is not used. The first map has neither.
    """

    def __init__(self, model: ExaTrkX, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(2 * features(model.columns), width)
        self.further = nn.ModuleList(
            nn.Linear(width, width) for _ in range(model.filter_layers - 1)
        )
        self.norms = nn.ModuleDict({"layer": nn.LayerNorm(width), "batch": OverEdges(width)})
        self.used = [name for name in self.norms if name in model.filter_norms]
        for name, norm in self.norms.items():
            norm.requires_grad_(name in self.used)
        self.out = nn.Linear(width, 1)

    def forward(self, points: Tensor, edges: Tensor) -> Tensor:
        """Return the logits (E) of edges (2, E) between points (P, F)."""
        x = of_ends(points, edges, self.first)
        for layer in self.further:
            x = layer(x).tanh()
            for name in self.used:
                x = self.norms[name](x)
        logits: Tensor = self.out(x)
        return logits.squeeze(1)


class OverEdges(nn.Module):
    """A batch norm whose statistics are those of the edges at hand, in inference too."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the states (E, W), normalised over the edges."""
        if not len(x):
            return x
        variance, mean = torch.var_mean(x, 0, correction=0)
        return (x - mean) / (variance + EPSILON).sqrt() * self.weight + self.bias


class Backbone(nn.Module):
    """The stages, up to the states of points and edges."""

    def __init__(self, model: ExaTrkX) -> None:
        super().__init__()
        self.model, width = model, model.width
        self.embedding = Embedding(model)
        self.filter = None if model.filter_width is None else Filter(model, model.filter_width)
        self.read = [model.columns.index(name) for name in model.read_by_network]
        activation, norm = activation_of(model)

        def layers(before: int) -> Layered:
            return Layered(model.sizes("points", before), activation, norm=norm)

        def of_edges(state_width: int) -> OfEdges:
            sizes = model.sizes("edges")
            return OfEdges(width, sizes, activation, state_width=state_width, norm=norm)

        self.of_points = layers(features(model.read_by_network))
        self.of_edges = of_edges(0)
        seen = width * (3 if model.aggregation == "sum_max" else 2)
        steps = [Interaction(of_edges(width), layers(seen), model.aggregation)]
        self.layers = nn.ModuleList(steps if model.layers else [])

    def forward(self, batch: Batch) -> tuple[Tensor, Graph]:
        """Return the points (P, W), and the graph that is left, with the states of its edges."""
        model = self.model
        dtype = next(self.embedding.parameters()).dtype
        x = inputs(batch.points, model.columns).to(dtype)
        space = self.embedding(x)
        edges = both_ways(nearest(space, batch.offsets, model.neighbours, model.radius), len(x))
        candidates = None
        if self.filter is not None:
            candidates = Candidates(edges, self.filter(x, edges), model.filter_weight)
            edges = kept(candidates, model.filter_cut, len(x))
        read = inputs(batch.points[:, self.read], model.read_by_network)
        points, states = self.network(read.to(dtype), edges)
        loss = Hinge(
            model.margin,
            model.radius,
            model.neighbours if "hnm" in model.regime else 1,
            model.random_pairs if "rp" in model.regime else 0,
            model.space_weight,
        )
        place = Space(space, along(batch, model.columns), loss)
        return points, Graph(edges, place, states, candidates=candidates)

    def network(self, x: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points (P, W) and states (E, W) of the third stage, of points (P, F)."""
        points = self.of_points(x)
        states = self.of_edges(points, edges)
        for _ in range(self.model.layers):
            points, states = self.layers[0](points, states, edges)
        return points, states


def kept(candidates: Candidates, cut: float, points: int) -> Tensor:
    """Return the edges (2, E) that pass in one of their directions, both ways."""
    passed = candidates.logits.float().sigmoid() > cut
    return candidates.edges[:, passed | passed[way_back(candidates.edges, points)]]


def activation_of(model: ExaTrkX) -> tuple[type[nn.Module], Norm]:
    """Return the activation and the norm of the networks of the third stage."""
    return getattr(nn, model.activation), "affine" if model.norm else "none"


class Pretrainer(nn.Module):
    """The backbone, and the classifier of the edges that are left."""

    def __init__(self, model: ExaTrkX) -> None:
        super().__init__()
        self.backbone = Backbone(model)
        self.true_weight = model.edge_weight
        self.classify = classifier(model)

    def forward(self, batch: Batch) -> Graph:
        """Return the graph that is left, with logits of its edges."""
        points, graph = self.backbone(batch)
        logits = self.classify(points, graph.edges, graph.states)
        return replace(graph, logits=logits, true_weight=self.true_weight)


def classifier(model: ExaTrkX) -> EdgeClassifier:
    """Return what classifies edges from their states and those of their ends."""
    activation, norm = activation_of(model)
    depth = len(model.sizes("edges"))
    width = model.width
    return EdgeClassifier(width, width, depth, activation, state_width=width, norm=norm)


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
