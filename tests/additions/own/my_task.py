"""A user's downstream task: which points are of hard particles, and how many an event has."""

import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional


class Head(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.out = nn.Linear(width, 1)

    def forward(self, hidden, _batch):
        return self.out(hidden.points[-1]).squeeze(1)  # (P)


class Hard:
    @staticmethod
    def build(_task, model):
        return Head(model.hidden[1])

    @staticmethod
    def loss(output, batch, task):
        hard = (batch.per_point["pt_gev"] > task.settings["above_gev"]).float()
        entropy = functional.binary_cross_entropy_with_logits(output, hard, reduction="none")
        sums = torch.zeros(len(batch.sizes)).index_add(0, batch.event, entropy)
        return {"hard": (sums / batch.sizes).mean()}

    @staticmethod
    def predict(output, _batch, _task):
        return {"hard": (output > 0).long()}

    @staticmethod
    def score(predicted, truth, task, _seed):
        hard = truth.per_point["pt_gev"] > task.settings["above_gev"]
        return {"wrong": float((predicted["hard"] != hard).mean())}

    @staticmethod
    def draw(event):
        figure = Figure(figsize=(2, 2))
        figure.add_subplot().scatter(event.columns["eta"], event.columns["phi"])
        return figure
