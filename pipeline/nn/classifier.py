"""What pretrains on classes: a backbone that has a state for each event, and a layer of classes.

Axes: P points, packed · B events · W width · C classes.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

from torch import Tensor, nn

from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden, HiddenOf

States = tuple[Tensor, Tensor | None]


class Backbone(Protocol):
    """What gives the states of points (P, W) and of events (B, W'), None where it has no layer."""

    def __call__(self, batch: Batch, /) -> States:
        """Return both."""


class Classifier(nn.Module):
    """The backbone, and a layer from the state of an event to the logits of its class.

    Before that layer there may be `hidden` ones of so many channels, each with relu and dropout.
    """

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        classes: int,
        *,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        layers = [
            nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout))
            for inputs, outputs in pairwise((width, *hidden))
        ]
        self.hidden = nn.Sequential(*layers)
        self.classes = nn.Linear((width, *hidden)[-1], classes)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits (B, C)."""
        _, events = self.backbone(batch)
        logits: Tensor = self.classes(self.hidden(events))
        return logits


def looking(backbone: Callable[[Batch], States]) -> HiddenOf:
    """Return how a head is given what such a backbone sees."""

    def hidden_of(batch: Batch) -> Hidden:
        points, events = backbone(batch)
        return Hidden([points], events)

    return hidden_of
