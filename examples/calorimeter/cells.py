"""A model of one's own, and what it learns without labels: the energies of hidden cells.

Axes: P cells of a batch, packed · B events · W width.
"""

import torch
from torch import nn

from pipeline.nn import draws
from pipeline.nn.losses import event_mean

ENERGY = 3  # the column of ln(E / GeV)


class Cells(nn.Module):
    """Each cell by itself, then each beside the mean of its event, `layers` times."""

    def __init__(self, width, layers):
        super().__init__()
        self.embedding = nn.Sequential(nn.Linear(5, width), nn.GELU(), nn.Linear(width, width))
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, width), nn.GELU())
            for _ in range(layers)
        )

    def forward(self, batch, hidden=None):
        """Return states (P, W); the energies of cells that are `hidden` (P) are not seen."""
        if hidden is None:
            hidden = torch.zeros_like(batch.event, dtype=torch.bool)
        energy = batch.points[:, ENERGY].masked_fill(hidden, 0.0)
        seen = torch.cat([batch.points[:, :ENERGY], energy[:, None], hidden[:, None]], 1)
        states = self.embedding(seen)
        for layer in self.layers:
            states = states + layer(torch.cat([states, _mean(states, batch)[batch.event]], 1))
        return states


class HiddenEnergies(nn.Module):
    """The network that is pretrained: the backbone, and a guess of each cell's energy."""

    def __init__(self, width, layers):
        super().__init__()
        self.backbone, self.out = Cells(width, layers), nn.Linear(width, 1)

    def forward(self, batch):
        """Return the energies (P), as the columns have them normalised."""
        return self.out(self.backbone(batch, _hidden(batch))).squeeze(1)


def build(settings):
    """Return the network to pretrain."""
    return HiddenEnergies(**settings)


def backbone(settings):
    """Return the part of it that heads are put on."""
    return Cells(**settings)


def embedding(settings):
    """Return the cells embedded and nothing else, for the mode "head"."""
    return Cells(settings["width"], 0)


def energies(output, batch):
    """Return the objective: the squared error of the energies of hidden cells."""
    error = (output - batch.points[:, ENERGY]).square()
    return {"energies": event_mean(error, _hidden(batch).float(), batch)}


def _hidden(batch):
    """Return which cells (P) are hidden: three in ten, others in each pass over the data."""
    return draws.bernoulli(batch, "hidden cells", 0.3)


def _mean(states, batch):
    """Return the mean state of each event (B, W)."""
    total = states.new_zeros(len(batch.sizes), states.shape[1]).index_add(0, batch.event, states)
    return total / batch.sizes[:, None]
