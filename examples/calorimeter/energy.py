"""A downstream task of one's own: the energy of the particle, and the resolution of it.

Axes: B events of a batch · E events of the test.
"""

import numpy as np
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional


class Head(nn.Module):
    """ln(E / GeV) of each event, from the mean of the states of its cells."""

    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, 1))

    def forward(self, hidden, batch):
        """Return ln(E / GeV) (B)."""
        return self.net(hidden.pooled(batch)).squeeze(1)


class Energy:
    """The energy in GeV; `task.settings["above_gev"]` is where scores begin."""

    @staticmethod
    def build(task, model):
        """Return the head for the states of `model`."""
        return Head(model.event_width)

    @staticmethod
    def loss(output, batch, task):
        """Return the mean over events of the error of ln E."""
        return {"energy": functional.smooth_l1_loss(output, batch.per_event["energy_gev"].log())}

    @staticmethod
    def predict(output, batch, task):
        """Return the energies (B) in GeV."""
        return {"energy_gev": output.exp()}

    @staticmethod
    def score(predicted, truth, task, seed):
        """Return bias and resolution: the median of predicted / true energy, half of its 68 %."""
        true = truth.per_event["energy_gev"]
        kept = true > task.settings["above_gev"]
        ratio = predicted["energy_gev"][kept] / true[kept]
        low, middle, high = np.quantile(ratio, [0.16, 0.5, 0.84])
        return {"resolution": (high - low) / 2, "bias": middle - 1}

    @staticmethod
    def draw(event):
        """Return a picture of an event: its cells from the side."""
        figure = Figure(figsize=(4, 3), layout="constrained")
        axes = figure.add_subplot(xlabel="layer", ylabel="x / mm")
        size = 4 + 3 * (event.columns["log_energy"] + 8).clip(0)
        axes.scatter(event.columns["layer"], event.columns["x"], size)
        return figure
