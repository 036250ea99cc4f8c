"""Downstream tasks on a pretrained backbone: a file each, whose four functions make a `Task`.

Axes: P points, packed · B events · E events of a split · W width · L hidden states of a point.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.data.events import offsets_of
from pipeline.data.experiment import named
from pipeline.data.store import Store
from pipeline.evaluation import look
from pipeline.families import Family
from pipeline.heads import AnyHead
from pipeline.training.batch import Batch
from pipeline.training.models.graphs import Graph

Rows = Mapping[str, NDArray[Any]]
# What a store of features holds beside what it was made from (pipeline/training/features.py).
FEATURES, EVENT_FEATURES = "features", "event_features"


@dataclass(frozen=True)
class Hidden:
    """What a backbone gives of a batch: of each point L states (P, W), of each event one (B, W).

    `events` is None where the backbone has no token that stands for the event, `graph` where it
    makes none of the points.
    """

    points: Sequence[Tensor]
    events: Tensor | None = None
    graph: Graph | None = None

    def pooled(self, batch: Batch) -> Tensor:
        """Return the state of each event (B, W), the mean of its points where there is none."""
        if self.events is not None:
            return self.events
        last = self.points[-1]
        total = last.new_zeros(len(batch.sizes), last.shape[1]).index_add(0, batch.event, last)
        return total / batch.sizes.unsqueeze(1)


HiddenOf = Callable[[Batch], Hidden]


@dataclass(frozen=True)
class Truth:
    """What is known of the E events that were told: arrays by name, and where events are cut.

    `tables` are the constants of the detector that the backbone reads.
    """

    per_point: Rows
    per_event: Rows
    tables: Rows
    offsets: NDArray[np.int64]
    event_id: NDArray[np.int64]
    points: NDArray[np.float32]
    columns: Sequence[str]

    def column(self, name: str) -> NDArray[np.float32]:
        """Return a column of the points (P), in physical units."""
        return self.points[:, list(self.columns).index(name)]


def joined(several: Sequence[Truth]) -> Truth:
    """Return the events of several truths of one store, one after another."""
    first = several[0]

    def together(rows: Sequence[Rows]) -> Rows:
        return {name: np.concatenate([each[name] for each in rows]) for name in rows[0]}

    return Truth(
        per_point=together([each.per_point for each in several]),
        per_event=together([each.per_event for each in several]),
        tables=first.tables,
        offsets=offsets_of(np.concatenate([np.diff(each.offsets) for each in several])),
        event_id=np.concatenate([each.event_id for each in several]),
        points=np.concatenate([each.points for each in several]),
        columns=first.columns,
    )


class Task(Protocol):
    """What the file of a downstream task holds."""

    def build(self, head: Any, model: Family, /) -> nn.Module:
        """Return the head: a module that takes `Hidden` and a batch."""

    def loss(self, output: Any, batch: Batch, head: Any, /) -> dict[str, Tensor]:
        """Return the named losses, each a mean over the events of the batch."""

    def answer(self, output: Any, batch: Batch, head: Any, /) -> dict[str, Tensor]:
        """Return what is told, of P or of B rows each, all of the same kind."""

    def score(self, told: Rows, truth: Truth, head: Any, seed: int, /) -> look.Look:
        """Return the scores of what was told of all events, with their intervals."""


def task_of(head: AnyHead) -> Task:
    """Return the functions of the task that `head` declares."""
    return cast("Task", importlib.import_module(head.PLACE))


def backbone_of(model: Family, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the untrained backbone of `model`, and how a head is given what it sees."""
    made: tuple[nn.Module, HiddenOf] = named(model.BACKBONE)(model, store)
    return made


def _as_stored(batch: Batch) -> Hidden:
    """Return what is read of a store of features."""
    return Hidden([batch.per_point[FEATURES]], batch.per_event.get(EVENT_FEATURES))


class Downstream(nn.Module):
    """A backbone with the head of a downstream task; or the head alone, on stored features."""

    def __init__(
        self, model: Family, head: AnyHead, store: Store | None = None, *, stored: bool = False
    ) -> None:
        super().__init__()
        self.look: HiddenOf
        if stored:
            self.backbone, self.look = nn.Module(), _as_stored
            model = model.model_copy(update={"layers": 1})
        else:
            self.backbone, self.look = backbone_of(model, store)
        self.head = task_of(head).build(head, model)

    def forward(self, batch: Batch) -> Any:
        """Return what the head makes of what the backbone sees."""
        return self.head(self.look(batch), batch)
