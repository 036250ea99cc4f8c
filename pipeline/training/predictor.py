"""A fine-tuned model that predicts: its weights, and its predictions for events as arrays.

Axes: E events, P points.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch

from pipeline.campaign import FinetuneTask
from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events
from pipeline.data.predictions import Described
from pipeline.data.store import Store
from pipeline.families import Reads
from pipeline.nn.batch import Batch
from pipeline.nn.loading import batches
from pipeline.training.engine import engine
from pipeline.training.network import Downstream
from pipeline.training.programs import finetune

BATCH_EVENTS = 8


@dataclass(frozen=True)
class Predictor:
    """The model of `task` with its weights, whose digest is `weights_sha256`, on a device.

    `store` is one of the events that it takes, or of the same experiment: it has their columns.
    """

    task: FinetuneTask
    model: Downstream
    weights_sha256: str
    store: Store
    device: torch.device

    @classmethod
    def load(cls, folder: Path, task: FinetuneTask, store: Store, device: torch.device) -> Self:
        """Return the model that was fine-tuned in `folder`.

        Raises:
            RunError: Its weights are not there, or not those of its result.
        """
        model = finetune.network(task, store)
        finetune.adapt(model, task)
        weights = finetune.trained(folder)
        model.load_state_dict(weights)
        digest = engine.weights_hash(weights)
        return cls(task, model.to(device).eval(), digest, store, device)

    def described(self, made_from: str = "") -> Described:
        """Return what is known of the arrays that it predicts; `made_from` stands for the rest."""
        head = self.task.head
        return Described(
            task=head.task,
            predicted=head.predictions(),
            of_points=bool(head.truth_per_point()) and not head.truth_per_event(),
            made_from=made_from,
        )

    def predict(self, events: Events, reads: Reads) -> dict[str, Array]:
        """Return the predicted arrays, (E, …) or (P, …) each, of `events` as a store has them.

        Raises:
            BadInput: A prediction is not finite.
        """
        found: dict[str, list[Array]] = {}
        for batch in batches(events, self.store.manifest.columns, reads, BATCH_EVENTS):
            for name, values in self._batch(batch.to(self.device)).items():
                found.setdefault(name, []).append(values)
        return {name: np.concatenate(parts) for name, parts in found.items()}

    @torch.no_grad()
    def _batch(self, batch: Batch) -> dict[str, Array]:
        """Return the predictions for a batch.

        Raises:
            BadInput: One is not finite.
        """
        task = self.task.head
        predicted = task.module().predict(self.model(batch), batch, task)
        for name, each in predicted.items():
            if not bool(each.isfinite().all()):
                first, last = batch.event_id[0].item(), batch.event_id[-1].item()
                message = (
                    f"the prediction {name!r} is not finite for events {first} to {last}. Was the "
                    "training stopped by a loss of NaN?"
                )
                raise BadInput(message)
        return {name: each.cpu().numpy() for name, each in predicted.items()}
