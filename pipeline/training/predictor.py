"""A fine-tuned model that predicts: its weights, and its predictions for events as arrays.

Axes: E events, P points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from pipeline.campaign.model_folder import ModelFolder
from pipeline.campaign.tasks import FinetuneTask
from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events
from pipeline.data.experiment import Column
from pipeline.data.predictions import Described
from pipeline.data.store import Store
from pipeline.downstream import DownstreamTask
from pipeline.families import Reads
from pipeline.nn.batch import Batch
from pipeline.nn.loading import batches
from pipeline.outcome import RunError
from pipeline.training.engine import engine
from pipeline.training.network import Downstream
from pipeline.training.programs import finetune

BATCH_EVENTS = 8


@dataclass(frozen=True)
class Predictor:
    """A model with the head of a task, and its weights, whose digest is `weights_sha256`."""

    head: DownstreamTask
    model: Downstream
    weights_sha256: str
    device: torch.device

    @classmethod
    def load(
        cls,
        folder: Path,
        task: FinetuneTask | ModelFolder,
        store: Store | None,
        device: torch.device,
    ) -> Self:
        """Return the model that was fine-tuned as `task` says, with its weights in `folder`.

        `store` has the detector's tables, which some models are built of.

        Raises:
            BadInput: It has no head.
            RunError: Its weights are not there, not those of its result, or of another model.
        """
        if task.head is None:
            message = f"{folder}: a pretrained model, without a head that predicts. Fine-tune it."
            raise BadInput(message)
        model = finetune.network(task, store)
        finetune.adapt(model, task)
        weights = finetune.trained(folder)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            message = (
                f"{folder}: the weights do not fit the model that is declared there. An earlier "
                "version exported neither mode nor rank of a fine-tuning: export it again."
            )
            raise RunError(message) from error
        return cls(task.head, model.to(device).eval(), engine.weights_hash(weights), device)

    def described(self, made_from: str = "") -> Described:
        """Return what is known of the arrays that it predicts; `made_from` stands for the rest."""
        head = self.head
        return Described(
            task=head.task,
            predicted=head.predictions(),
            of_points=bool(head.truth_per_point()) and not head.truth_per_event(),
            made_from=made_from,
        )

    def predict(self, events: Events, columns: Sequence[Column], reads: Reads) -> dict[str, Array]:
        """Return the predicted arrays, (E, …) or (P, …) each, of `events` as a store has them.

        `columns` are those of the store, or of the experiment of a file.

        Raises:
            BadInput: A prediction is not finite.
        """
        found: dict[str, list[Array]] = {}
        for batch in batches(events, columns, reads, BATCH_EVENTS):
            for name, values in self._batch(batch.to(self.device)).items():
                found.setdefault(name, []).append(values)
        return {name: np.concatenate(parts) for name, parts in found.items()}

    @torch.no_grad()
    def _batch(self, batch: Batch) -> dict[str, Array]:
        """Return the predictions for a batch.

        Raises:
            BadInput: One is not finite.
        """
        output: Any = self.model(batch)
        predicted = self.head.module().predict(output, batch, self.head)
        for name, each in predicted.items():
            if not bool(each.isfinite().all()):
                first, last = batch.event_id[0].item(), batch.event_id[-1].item()
                message = (
                    f"the prediction {name!r} is not finite for events {first} to {last}. Was the "
                    "training stopped by a loss of NaN?"
                )
                raise BadInput(message)
        return {name: each.cpu().numpy() for name, each in predicted.items()}
