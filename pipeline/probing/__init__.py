"""What an probe of a pretrained model looks at beside its losses, a file per family."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.data.events import Events
from pipeline.data.store import Store
from pipeline.evaluation.result import EvaluationResult
from pipeline.families import Family
from pipeline.nn.batch import Batch
from pipeline.nn.loading import batches
from pipeline.training.systems import System

BATCH_EVENTS = 32


@dataclass(frozen=True)
class Probed:
    """A pretrained model at hand: what a family's own probe is given.

    `system.module` is on `device`, in evaluation mode; `folder` is for what else is to be kept.
    """

    model: Family
    system: System
    events: Events
    store: Store
    device: torch.device
    seed: int
    folder: Path

    def batches(self) -> Iterator[Batch]:
        """Yield the events in batches of what the model reads."""
        columns = self.store.manifest.columns
        return batches(self.events, columns, self.model.reads(), BATCH_EVENTS)


Probe = Callable[[Probed], EvaluationResult]
