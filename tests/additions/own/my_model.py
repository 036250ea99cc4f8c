"""A user's model, with a backbone that heads can be put on."""

import torch
from torch import nn


class Backbone(nn.Module):
    def __init__(self, width, layers):
        super().__init__()
        self.embedding = nn.Linear(3, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def forward(self, batch):
        points = self.embedding(batch.points[:, 1:])
        for layer in self.layers:
            points = points + layer(points).relu()
        return points  # (P, width)


class Pretraining(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.backbone = Backbone(width, layers=2)
        self.out = nn.Linear(width, 1)

    def forward(self, batch):
        return self.out(self.backbone(batch)).squeeze(1)


def build(settings):
    return Pretraining(**settings)


def backbone(settings):
    return Backbone(**settings, layers=2)


def embedding(settings):
    return Backbone(**settings, layers=0)


def energy(output, batch):
    error = (output - batch.points[:, 0]).square()
    sums = torch.zeros(len(batch.sizes)).index_add(0, batch.event, error)
    return {"energy": (sums / batch.sizes).mean()}
