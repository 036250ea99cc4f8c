"""Points one by one."""

from torch import Tensor, nn

from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden


class Backbone(nn.Module):
    """Each point by itself."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(3, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def forward(self, batch: Batch) -> Tensor:
        """Return the state of each point (P, width)."""
        points = self.embedding(batch.points[:, 1:])
        for layer in self.layers:
            points = points + layer(points).relu()
        return points


class Pretraining(nn.Module):
    """The backbone, and the energy of each point."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.backbone = Backbone(width, layers)
        self.out = nn.Linear(width, 1)

    def forward(self, batch: Batch) -> Tensor:
        """Return the energy of each point (P)."""
        return self.out(self.backbone(batch)).squeeze(1)


def build(model, store):
    """Return the module."""
    return Pretraining(model.width, model.layers)


def backbone(model, store):
    """Return the backbone, and its states."""
    made = Backbone(model.width, model.layers)
    return made, lambda batch: Hidden([made(batch)])
