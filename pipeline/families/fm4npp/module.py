"""FM4NPP: Mamba or Mamba2 layers over serialised space points (arXiv:2508.14087).

Axes: P points, packed · W width · L layers · k neighbours.
"""

import math

import torch
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


class Layer(nn.Module):
    """x + dropout(mixer(RMSNorm(x)))."""

    def __init__(self, model: FM4NPP, scan: Scan) -> None:
        super().__init__()
        self.norm = RMSNorm(model.width)
        self.mixer = MIXERS[model.family](model.width, scan)
        self.dropout = nn.Dropout(model.dropout)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Return the next hidden states (P, W)."""
        mixed: Tensor = self.dropout(self.mixer(self.norm(hidden), batch))
        return hidden + mixed


class Backbone(nn.Module):
    """The pretrained part: embedding, L layers, and the output of each of them."""

    def __init__(self, model: FM4NPP) -> None:
        super().__init__()
        self.embedding = Embedding(model.width, model.embedding, model.combine)
        self.kernels, scan = kernels.chosen(model.family, model.kernels)
        self.layers = nn.ModuleList(Layer(model, scan) for _ in range(model.layers))
        # Keep the residual stream's size independent of depth, as GPT-2 does.
        with torch.no_grad():
            for name, weight in self.layers.named_parameters():
                if name.endswith("out_proj.weight"):
                    weight.div_(math.sqrt(model.layers))

    def forward(self, batch: Batch) -> list[Tensor]:
        """Return the hidden states (P, W) after each of the L layers."""
        hidden = self.embedding(batch.points)
        outputs = []
        for layer in self.layers:
            hidden = layer(hidden, batch)
            outputs.append(hidden)
        return outputs


class NeighbourPredictor(nn.Module):
    """The backbone with its pretraining head: the positions of the k next neighbours."""

    def __init__(self, model: FM4NPP) -> None:
        super().__init__()
        self.backbone = Backbone(model)
        self.norm = RMSNorm(model.width)
        self.head = nn.Linear(model.width, 3 * model.neighbours)
        self.choices = {"kernels": self.backbone.kernels}

    def forward(self, batch: Batch) -> Tensor:
        """Return the predicted normalised (eta, phi, r) of the k next neighbours (P, k, 3)."""
        predicted: Tensor = self.head(self.norm(self.backbone(batch)[-1]))
        return predicted.unflatten(-1, (-1, 3))


def backbone(model: FM4NPP, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone, and how a head is given all of its layers."""
    backbone = Backbone(model)
    if not model.layers:
        return backbone, lambda batch: Hidden([backbone.embedding(batch.points)])
    return backbone, lambda batch: Hidden(backbone(batch))


def build(model: FM4NPP, store: Store | None) -> NeighbourPredictor:
    """Return the module; nothing of the store decides its shape."""
    return NeighbourPredictor(model)
