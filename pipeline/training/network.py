"""A backbone with the head of a downstream task on it.

Axes: P points, packed · B events · W width · L hidden states of a point.
"""

from typing import Any

from torch import nn

from pipeline.data.store import Store
from pipeline.downstream import DownstreamTask
from pipeline.families import Family
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import HiddenOf, as_stored


def backbone_of(model: Family, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the untrained backbone of `model`, and the function that gives a head its states."""
    made: tuple[nn.Module, HiddenOf] = model.beside("module").backbone(model, store)
    return made


class Downstream(nn.Module):
    """A backbone with the head of a downstream task; or the head alone, on stored features."""

    def __init__(
        self,
        model: Family,
        task: DownstreamTask,
        store: Store | None = None,
        *,
        stored: bool = False,
    ) -> None:
        super().__init__()
        self.hidden_of: HiddenOf
        if stored:
            self.backbone, self.hidden_of = nn.Module(), as_stored
            model = model.with_one_state()
        else:
            self.backbone, self.hidden_of = backbone_of(model, store)
        self.head = task.module().build(task, model)

    def forward(self, batch: Batch) -> Any:
        """Return the output of the head on the backbone's hidden states."""
        return self.head(self.hidden_of(batch), batch)
