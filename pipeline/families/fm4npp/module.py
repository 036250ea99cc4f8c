"""FM4NPP: Mamba or Mamba2 layers over serialised space points (arXiv:2508.14087).

Initial weights are those of the authors' trainers (train_multi_gpu_mamba1.py and, for Mamba2,
track_finding_trainer.py of github.com/FM4NPP/PP_collision at 0a0a17c): as the layers draw them,
with the biases of convolutions and head zero. Time steps are `FM4NPP.time_steps`.

Axes: P points, packed · W width · L layers · k neighbours.
"""

from torch import Tensor, nn

from pipeline.data.store import Store
from pipeline.families.fm4npp.embedding import Embedding
from pipeline.families.fm4npp.spec import FM4NPP
from pipeline.nn import kernels
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden, HiddenOf
from pipeline.nn.kernels import Scan
from pipeline.nn.mamba import Mamba, Mamba2, RMSNorm

MIXERS: dict[str, type[Mamba] | type[Mamba2]] = {"fm4npp-mamba": Mamba, "fm4npp-mamba2": Mamba2}


class Addition(nn.Module):
    """dropout(mixer(RMSNorm(x))): what a layer adds to x, and what a head is given of it."""

    def __init__(self, model: FM4NPP, scan: Scan) -> None:
        super().__init__()
        self.norm = RMSNorm(model.width)
        self.mixer = MIXERS[model.family](model.width, scan, model.time_steps)
        self.dropout = nn.Dropout(model.dropout)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Return what is added to the hidden states (P, W)."""
        mixed: Tensor = self.dropout(self.mixer(self.norm(hidden), batch))
        return mixed


class Layer(Addition):
    """x + dropout(mixer(RMSNorm(x)))."""

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Return the next hidden states (P, W)."""
        return hidden + super().forward(hidden, batch)


class Backbone(nn.Module):
    """The pretrained part: embedding, and L layers that each add to the stream."""

    def __init__(self, model: FM4NPP) -> None:
        super().__init__()
        self.embedding = Embedding(model.width, model.embedding, model.combine)
        self.kernels, scan = kernels.chosen(model.family, model.kernels)
        self.layers = nn.ModuleList(Addition(model, scan) for _ in range(model.layers))

    def forward(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Return the stream (P, W) after all layers, and what each of them added to it (P, W)."""
        stream = self.embedding(batch.points)
        added = []
        for layer in self.layers:
            added.append(layer(stream, batch))
            stream = stream + added[-1]
        return stream, added


class NeighbourPredictor(nn.Module):
    """The backbone with its pretraining head: the positions of the k next neighbours."""

    def __init__(self, model: FM4NPP) -> None:
        super().__init__()
        self.backbone = Backbone(model)
        self.norm = RMSNorm(model.width)
        self.head = nn.Linear(model.width, 3 * model.neighbours)
        nn.init.zeros_(self.head.bias)
        self.choices = {"kernels": self.backbone.kernels}

    def forward(self, batch: Batch) -> Tensor:
        """Return the predicted normalised (eta, phi, r) of the k next neighbours (P, k, 3)."""
        predicted: Tensor = self.head(self.norm(self.backbone(batch)[0]))
        return predicted.unflatten(-1, (-1, 3))


def backbone(model: FM4NPP, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone, and how a head is given what each of its layers adds."""
    backbone = Backbone(model)
    if not model.layers:
        return backbone, lambda batch: Hidden([backbone.embedding(batch.points)])
    return backbone, lambda batch: Hidden(backbone(batch)[1])


def build(model: FM4NPP, store: Store | None) -> NeighbourPredictor:
    """Return the module; nothing of the store decides its shape."""
    return NeighbourPredictor(model)
