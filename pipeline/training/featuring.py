"""The features of a frozen backbone, of events that are in no store of features."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch

from pipeline.campaign import FeaturesTask
from pipeline.data.events import Events
from pipeline.data.experiment import Column
from pipeline.data.store import Store
from pipeline.families import Reads
from pipeline.nn.hidden import EVENT_FEATURES, FEATURES, HiddenOf
from pipeline.nn.loading import batches
from pipeline.training.network import backbone_of
from pipeline.training.programs.features import combined, half
from pipeline.training.programs.finetune import BACKBONE, start


@dataclass(frozen=True)
class Featuring:
    """The backbone of a store of features, which combines its layers by `combine`."""

    hidden_of: HiddenOf
    combine: str
    reads: Reads
    device: torch.device

    @classmethod
    def load(cls, task: FeaturesTask, store: Store, device: torch.device) -> Self:
        """Return the backbone by which `task` wrote the features in `store`.

        Raises:
            RunError: Its weights are not there.
            BadInput: They are of another model.
        """
        backbone, hidden_of = backbone_of(task.model, store)
        start(backbone, task.backbone, task.model, prefix=BACKBONE)
        backbone.requires_grad_(False).to(device).eval()
        return cls(hidden_of, task.combine, task.model.reads_downstream(), device)

    @torch.no_grad()
    def featured(self, events: Events, columns: Sequence[Column], batch_events: int) -> Events:
        """Return `events` with the features of their points, and theirs if there is a token."""
        of_points, of_events = [], []
        for batch in batches(events, columns, self.reads, batch_events):
            hidden = self.hidden_of(batch.to(self.device))
            of_points.append(half(combined(hidden.points, self.combine), batch.event_id))
            if hidden.events is not None:
                of_events.append(half(hidden.events, batch.event_id))
        per_point = {**events.per_point, FEATURES: np.concatenate(of_points)}
        per_event = dict(events.per_event)
        if of_events:
            per_event[EVENT_FEATURES] = np.concatenate(of_events)
        return replace(events, per_point=per_point, per_event=per_event, verified=True)
