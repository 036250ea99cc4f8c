"""EggNet: graph attention on graphs that evolve in the space that it learns (arXiv:2407.13925).

Axes: P points, packed · W width · E edges · D dimensions of the space.
"""

from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.store import Store
from pipeline.families.eggnet.spec import EggNet
from pipeline.families.graphs import FEATURES
from pipeline.nn.batch import Batch
from pipeline.nn.graphs import Graph, Space, features, nearest
from pipeline.nn.hidden import Hidden, HiddenOf
from pipeline.nn.message_passing import Attention, Layered


class Backbone(nn.Module):
    """The encoder, the layers of all iterations, and the map into the space of neighbours.

    Before the first iteration there is no graph: the space is what the encoder makes of each point.
    """

    def __init__(self, model: EggNet) -> None:
        super().__init__()
        self.model = model
        self.encoder = Layered(FEATURES, model.width, model.depth)
        self.layers = nn.ModuleList(
            Attention(model.width, model.depth) for _ in range(model.distinct)
        )
        self.to_space = nn.Linear(model.width, model.dimensions)

    def forward(self, batch: Batch) -> tuple[Tensor, Graph]:
        """Return the points (P, W), and the graph of neighbours in the last space."""
        model = self.model
        x = self.encoder(features(batch.points).to(self.to_space.weight.dtype))
        for step in range(model.iterations * model.layers):
            if step % model.layers == 0:
                edges = nearest(self.space(x), batch.offsets, model.neighbours)
            x = self.layers[step % model.distinct](x, edges)
        space = self.space(x)
        edges = nearest(space, batch.offsets, model.neighbours)
        return x, Graph(edges, Space(space, model.margin))

    def space(self, x: Tensor) -> Tensor:
        """Return the coordinates (P, D) of points (P, W) on a sphere."""
        return functional.normalize(self.to_space(x), dim=1)


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
