"""ParticleNet over packed jets (Qu, Gouskos, arXiv:1902.08570, §3).

Axes: P particles, packed · B jets · E edges from a particle to a near one · C channels of a block's
input · W of its output.
"""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.store import Store
from pipeline.families.jet_columns import ANGLES, CHOICES
from pipeline.families.particlenet.spec import ParticleNet
from pipeline.nn.batch import Batch
from pipeline.nn.classifier import Classifier, States, looking
from pipeline.nn.hidden import HiddenOf
from pipeline.nn.neighbours import Edges, nearest
from pipeline.nn.norms import Norm, norm_of


class EdgeConv(nn.Module):
    """x_i becomes relu(shortcut(x_i) + mean_j h(x_i, x_j - x_i)), over the neighbours j of i.

    h has layers without bias, each with a norm and relu behind it. The first is linear in both
    ends, so it is applied to each particle, and what it gives is added edge by edge. An edge to row
    P is one to padding, whose features are zero.
    """

    def __init__(self, inputs: int, width: int, convolutions: int, norm: Norm) -> None:
        super().__init__()
        self.first = nn.Linear(2 * inputs, width, bias=False)
        self.further = nn.ModuleList(
            nn.Linear(width, width, bias=False) for _ in range(convolutions - 1)
        )
        self.norms = nn.ModuleList(norm_of(norm, width) for _ in range(convolutions))
        self.shortcut = nn.Linear(inputs, width, bias=False)
        self.norm_shortcut = norm_of(norm, width)

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        """Return (P, W) of x (P, C)."""
        point, near = edges.point, edges.near
        centre, difference = self.first.weight.chunk(2, 1)
        at_point = functional.linear(x, centre - difference)
        at_near = functional.pad(functional.linear(x, difference), (0, 0, 0, 1))  # padding is zero
        message = functional.relu(self.norms[0](at_point[point] + at_near[near]))
        for layer, norm in zip(self.further, self.norms[1:], strict=True):
            message = functional.relu(norm(layer(message)))
        return functional.relu(self.norm_shortcut(self.shortcut(x)) + edges.mean(message))


class Backbone(nn.Module):
    """Blocks whose graphs follow from what the block before made, and the mean over particles."""

    def __init__(self, model: ParticleNet) -> None:
        super().__init__()
        columns = CHOICES[model.inputs]
        self.neighbours, self.angles = model.neighbours, [columns.index(name) for name in ANGLES]
        self.few = model.few_neighbours
        self.norm_inputs = norm_of(model.norm, len(columns))
        sizes = (len(columns), *model.widths) if model.layers else ()
        self.layers = nn.ModuleList(
            EdgeConv(a, b, model.convolutions, model.norm) for a, b in pairwise(sizes)
        )
        if model.layers:
            self.inner = nn.Linear(sizes[-1], model.inner)
        self.dropout = nn.Dropout(model.dropout)

    def forward(self, batch: Batch) -> States:
        """Return the particles (P, W) and the jets (B, inner); without blocks particles alone."""
        x = self.norm_inputs(batch.points)
        if not len(self.layers):
            return x, None
        near = batch.points[:, self.angles]
        for layer in self.layers:
            edges = nearest(near, batch.lengths, self.neighbours)
            if self.few == "padded":
                edges = edges.filled_up(self.neighbours)
            x = layer(x, edges)
            near = x
        total = x.new_zeros(batch.lengths.events, x.shape[1]).index_add(0, batch.event, x)
        jets = functional.relu(self.inner(total / batch.sizes.unsqueeze(1)))
        return x, self.dropout(jets)


def backbone(model: ParticleNet, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone, and how a head is given particles and jets."""
    backbone = Backbone(model)
    return backbone, looking(backbone)


def build(model: ParticleNet, store: Store | None) -> Classifier:
    """Return the module; nothing of it depends on the store."""
    return Classifier(Backbone(model), model.inner, model.classes)
