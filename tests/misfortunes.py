"""A model of one's own which comes to grief: in rank 1, at the step that its settings say."""

import os
import resource
import time
from pathlib import Path

import torch
from torch import nn

MARGIN_BYTES = 64 << 20


class Unlucky(nn.Module):
    """A linear map of points, which also says whether this is the step of the misfortune."""

    def __init__(self, step):
        super().__init__()
        self.net = nn.Linear(4, 1)
        self.step, self.steps = step, 0

    def forward(self, batch):
        self.steps += 1
        return self.net(batch.points), self.steps == self.step and os.environ["RANK"] == "1"


def build(settings):
    return Unlucky(**settings)


def sleeps(output, batch):
    values, is_now = output
    while is_now:
        time.sleep(0.1)  # the line that the stacks must show
    return {"sleeps": values.square().mean()}


def no_number(output, batch):
    values, is_now = output
    return {"no_number": values.square().mean() * (float("nan") if is_now else 1.0)}


def no_gradient(output, batch):
    values, is_now = output
    # The root is a number at zero, its slope is not.
    return {
        "no_gradient": values.square().mean()
        + (0.0 * values if is_now else values.square() + 1).sqrt().mean()
    }


def eats(output, batch):
    values, is_now = output
    if is_now:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MARGIN_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        values = values.mean() * torch.ones(64 * MARGIN_BYTES)
    return {"eats": values.square().mean()}


class Blind(nn.Module):
    """A linear map of points which is no number in a validation, up to a step of the training."""

    def __init__(self, step):
        super().__init__()
        self.net = nn.Linear(4, 1)
        self.step, self.steps = step, 0

    def forward(self, batch):
        self.steps += self.training
        values = self.net(batch.points)
        return values if self.training or self.steps > self.step else values * float("nan")


def blind(settings):
    return Blind(**settings)


def squares(output, batch):
    return {"squares": output.square().mean()}
