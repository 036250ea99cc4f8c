"""EggNet: graph attention on graphs that evolve in the space that it learns (arXiv:2407.13925).

Written from the equations of the authors' code (github.com/exatrkx/EggNet, eggnet/models/eggnet.py
at e2bd117, Apache-2.0), to whose outputs tests hold it.

Axes: P points, packed · W width · E edges · D dimensions of the space.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.store import Store
from pipeline.families.eggnet.spec import EggNet, Network
from pipeline.nn.batch import Batch
from pipeline.nn.graphs import Graph, Space, along, inputs, nearest
from pipeline.nn.hidden import Hidden, HiddenOf
from pipeline.nn.message_passing import Layered, OfEdges, attend
from pipeline.nn.space_losses import Contrastive


class Backbone(nn.Module):
    """The encoder, the networks of all iterations, and the decoders into the space."""

    def __init__(self, model: EggNet) -> None:
        super().__init__()
        self.model = model
        self.encoder = network(model, "encoder")
        if model.layers:
            self.first = network(model, "first")
        self.edges = nn.ModuleList(edge_network(model, each) for each in model.networks("edges"))
        self.points = nn.ModuleList(network(model, "points") for _ in model.networks("points"))
        self.decoders = nn.ModuleList(network(model, "decoder") for _ in range(model.decoders))
        self._freeze()

    def _freeze(self) -> None:
        """Freeze what decides graphs alone, through which nothing flows back."""
        untrained = [*self.decoders[:-1]]
        if self.model.recycle and self.model.layers:
            untrained.append(self.first)
            if self.model.shared == "nothing":
                last = self.model.layers
                untrained += [*self.edges[:-last], *self.points[:-last]]
        for each in untrained:
            each.requires_grad_(requires_grad=False)

    def forward(self, batch: Batch) -> tuple[Tensor, Graph]:
        """Return the points (P, W), and the graph of neighbours in the last space."""
        model = self.model
        dtype = next(self.encoder.parameters()).dtype
        encoded = self.encoder(inputs(batch.points, model.columns).to(dtype))
        x = self.first(encoded) if model.layers else encoded
        for number in range(model.iterations if model.layers else 0):
            edges = self.near(number, x, batch.offsets)
            flows = not model.recycle or number == model.iterations - 1
            with torch.set_grad_enabled(flows and torch.is_grad_enabled()):
                x = self.iteration(number, encoded if model.recycle else x, edges)
        space = self.space(model.decoders - 1, x)
        edges = nearest(space, batch.offsets, model.neighbours)
        loss = Contrastive(model.margin, model.loss_neighbours, model.random_pairs)
        return x, Graph(edges, Space(space, along(batch, model.columns), loss))

    @torch.no_grad()
    def near(self, iteration: int, x: Tensor, offsets: Tensor) -> Tensor:
        """Return the edges (2, E) of the graph of an iteration, from points (P, W)."""
        space = self.space(min(iteration, self.model.decoders - 1), x)
        return nearest(space, offsets, self.model.neighbours)

    def iteration(self, number: int, x: Tensor, edges: Tensor) -> Tensor:
        """Return the points (P, W) after the rounds of an iteration on edges (2, E)."""
        states: Tensor | None = None
        for round_ in range(self.model.layers):
            of_edges = self._of("edges", number, round_)
            x, states = attend(x, states, edges, of_edges, self._of("points", number, round_))
        return x

    def _of(self, of: Literal["edges", "points"], iteration: int, round_: int) -> nn.Module:
        networks = self.edges if of == "edges" else self.points
        return networks[self.model.network_of(of, iteration, round_)]

    def space(self, decoder: int, x: Tensor) -> Tensor:
        """Return the coordinates (P, D) of points (P, W) by one of the decoders."""
        place: Tensor = self.decoders[decoder](x)
        return functional.normalize(place, dim=1) if self.model.sphere else place


def network(model: EggNet, name: Network) -> Layered:
    """Return one of the networks of points; the one of the first graph and all others end alike.

    That is in the activation, the decoder in its own.
    """
    last = model.space_activation if name == "decoder" else model.activation
    return Layered(
        model.sizes(name),
        getattr(nn, model.activation),
        norm="plain" if model.norm else "none",
        last=None if last == "none" else getattr(nn, last),
    )


def edge_network(model: EggNet, round_: int) -> OfEdges:
    """Return a network of edges, which have no states in the first round."""
    activation = getattr(nn, model.activation)
    return OfEdges(
        model.width,
        model.sizes("edges", round_=round_)[1:],
        activation,
        state_width=model.of_edges if round_ else 0,
        norm="plain" if model.norm else "none",
        last=activation,
    )


class Pretrainer(nn.Module):
    """The backbone, whose space is all that is trained."""

    def __init__(self, model: EggNet) -> None:
        super().__init__()
        self.backbone = Backbone(model)

    def forward(self, batch: Batch) -> Graph:
        """Return the graph in the last space."""
        graph: Graph = self.backbone(batch)[1]
        return graph


def backbone(model: EggNet, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone, and how a head is given points and the graph they came to."""
    backbone = Backbone(model)

    def hidden_of(batch: Batch) -> Hidden:
        points, graph = backbone(batch)
        return Hidden([points], graph=graph)

    return backbone, hidden_of


def build(model: EggNet, store: Store | None) -> Pretrainer:
    """Return the module; nothing of the store decides its shape."""
    return Pretrainer(model)
