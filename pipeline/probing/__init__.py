"""Probes of pretrained models: what several families measure beside their losses.

A family that has a probe keeps it in `probe.py` of its folder, as the function `probe`.
"""

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
from pipeline.nn.systems import System

BATCH_EVENTS = 32


@dataclass(frozen=True)
class Subject:
    """What a probe is given: a pretrained model, and events that it never saw.

    `system.module` is on `device`, in evaluation mode; `folder` takes further files of the probe.
    """

    model: Family
    system: System
    events: Events
    store: Store
    device: torch.device
    seed: int
    folder: Path

    def batches(self) -> Iterator[Batch]:
        """Yield the events in batches of what the model reads; what is drawn is by the seed."""
        columns = self.store.manifest.columns
        return batches(self.events, columns, self.model.reads(), BATCH_EVENTS, self.seed)


Probe = Callable[[Subject], EvaluationResult]
