"""A backbone with the head of a downstream task on it.

Axes: P points, packed · B events · W width · L hidden states of a point.
"""

from typing import Any, Protocol, cast

from torch import Tensor, nn

from pipeline.data.store import Store
from pipeline.downstream import AnyHead
from pipeline.downstream.truth import Rows, Truth
from pipeline.evaluation.result import Look
from pipeline.families import Family
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import HiddenOf, as_stored


class Task(Protocol):
    """What the file of a downstream task holds."""

    def build(self, head: Any, model: Family, /) -> nn.Module:
        """Return the head: a module that takes `Hidden` and a batch."""

    def loss(self, output: Any, batch: Batch, head: Any, /) -> dict[str, Tensor]:
        """Return the named losses, each a mean over the events of the batch."""

    def answer(self, output: Any, batch: Batch, head: Any, /) -> dict[str, Tensor]:
        """Return what is told, of P or of B rows each, all of the same kind."""

    def score(self, told: Rows, truth: Truth, head: Any, seed: int, /) -> Look:
        """Return the scores of what was told of all events, with their intervals."""


def task_of(head: AnyHead) -> Task:
    """Return the functions of the task that `head` declares."""
    return cast("Task", head.beside("module"))


def backbone_of(model: Family, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the untrained backbone of `model`, and how a head is given what it sees."""
    made: tuple[nn.Module, HiddenOf] = model.beside("module").backbone(model, store)
    return made


class Downstream(nn.Module):
    """A backbone with the head of a downstream task; or the head alone, on stored features."""

    def __init__(
        self, model: Family, head: AnyHead, store: Store | None = None, *, stored: bool = False
    ) -> None:
        super().__init__()
        self.look: HiddenOf
        if stored:
            self.backbone, self.look = nn.Module(), as_stored
            model = model.model_copy(update={"layers": 1})
        else:
            self.backbone, self.look = backbone_of(model, store)
        self.head = task_of(head).build(head, model)

    def forward(self, batch: Batch) -> Any:
        """Return what the head makes of what the backbone sees."""
        return self.head(self.look(batch), batch)
