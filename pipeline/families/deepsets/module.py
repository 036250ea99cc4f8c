"""Particle flow networks over packed jets (Komiske, Metodiev, Thaler, arXiv:1810.05165, §2).

A function of a set is F(Σ Φ(x)) (Zaheer et al., arXiv:1703.06114). Axes: P particles, packed · B
jets · W channels of a particle, and of a jet.
"""

from itertools import pairwise

from torch import Tensor, nn

from pipeline.data.store import Store
from pipeline.families.deepsets.spec import DeepSets
from pipeline.families.jet_columns import CHOICES
from pipeline.nn.batch import Batch
from pipeline.nn.classifier import Classifier, States, looking
from pipeline.nn.hidden import HiddenOf


class Backbone(nn.Module):
    """Φ of each particle, a sum, and F without the layer of classes."""

    def __init__(self, model: DeepSets) -> None:
        super().__init__()
        phi = (len(CHOICES[model.inputs]), *model.phi) if model.layers else ()
        self.phi = _layers(phi)
        self.f = _layers((model.phi[-1], *model.f)) if model.layers else None
        self.dropout = nn.Dropout(model.dropout)

    def forward(self, batch: Batch) -> States:
        """Return the particles (P, W) and the jets (B, W'); without layers particles alone."""
        if self.f is None:
            return batch.points, None
        x: Tensor = self.phi(batch.points.to(next(self.phi.parameters()).dtype))
        total = x.new_zeros(batch.lengths.events, x.shape[1]).index_add(0, batch.event, x)
        return x, self.dropout(self.f(total))


def _layers(sizes: tuple[int, ...]) -> nn.Sequential:
    """Return linear layers of `sizes`, each with relu behind it."""
    layers = [(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(sizes)]
    return nn.Sequential(*(each for pair in layers for each in pair))


def backbone(model: DeepSets, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone, and how a head is given particles and jets."""
    backbone = Backbone(model)
    return backbone, looking(backbone)


def build(model: DeepSets, store: Store | None) -> Classifier:
    """Return the module; nothing of it depends on the store."""
    return Classifier(Backbone(model), model.f[-1], model.classes)
