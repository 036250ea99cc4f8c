"""A model for others, loaded: its module, its predictions and its hidden states.

Axes: E events, P points, W width.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from pipeline.campaign import model_folder
from pipeline.campaign.model_folder import CONFIG, ModelFolder
from pipeline.catalog import DeclarationError
from pipeline.data import predictions
from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Integers
from pipeline.data.experiment import Column
from pipeline.data.identity import OF_FILE
from pipeline.data.loading import Selection
from pipeline.data.prepared_files import PreparedFiles, check_files
from pipeline.data.store import Store
from pipeline.data.store.places import ROW, Origins
from pipeline.families import TOKENIZERS, Reads
from pipeline.nn import systems
from pipeline.nn.hidden import HiddenOf
from pipeline.nn.loading import batches
from pipeline.training.loader import of_features
from pipeline.training.model_files import ModelFiles
from pipeline.training.network import backbone_of
from pipeline.training.predicting import OPTIONAL_TRUTH, known_truth
from pipeline.training.predictor import BATCH_EVENTS, Predictor
from pipeline.training.programs.finetune import BACKBONE, start, trained

AT_ONCE = 1024  # events


@dataclass(frozen=True)
class Part:
    """Some events (E) of a source, with their columns, files and entries in these (E)."""

    events: Events
    columns: Sequence[Column]
    files: Sequence[str]
    entry: Integers


@dataclass(frozen=True)
class Loaded:
    """The model that the folder `path` declares; `module` is in evaluation mode."""

    path: Path
    declared: ModelFolder
    module: nn.Module
    predictor: Predictor | None
    store: Store | None
    device: torch.device

    @classmethod
    def of(cls, path: Path, store: Path | None = None, device: str = "") -> Self:
        """Return the model in `path`; `store` has the detector's tables, which some models read.

        Raises:
            DeclarationError: There is no model.
            RunError: Its weights are not those that it speaks of.
        """
        declared = model_folder.read(path)
        if declared is None:
            message = (
                f"{path}: no model: {CONFIG} is not there. Write one with cosmotron export RUN "
                "TASK --to FOLDER, or cosmotron weights import."
            )
            raise DeclarationError(message)
        opened = Store.open(store) if store is not None else None
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if declared.head is not None:
            predictor = Predictor.load(path, declared, opened, where)
            return cls(path, declared, predictor.model, predictor, opened, where)
        module = systems.build(declared.model, opened).module
        module.load_state_dict(trained(path))
        return cls(path, declared, module.to(where).eval(), None, opened, where)

    @cached_property
    def reads(self) -> Reads:
        """What the model reads of an event."""
        reads: Reads = self.declared.model.reads_downstream()
        return of_features(reads, self.declared.model) if self.declared.cached else reads

    @cached_property
    def hidden_of(self) -> HiddenOf:
        """The function that gives the states of a batch.

        Raises:
            BadInput: The model has no backbone.
        """
        if self.predictor is not None:
            return self.predictor.model.hidden_of
        model = self.declared.model
        if model.family in TOKENIZERS or not model.takes_heads:
            message = f"{self.path}: {model.TITLE} has no backbone whose states could be shown."
            raise BadInput(message)
        backbone, hidden_of = backbone_of(model, self.store)
        start(backbone, self.path, model, prefix=BACKBONE)
        backbone.to(self.device).eval()
        return hidden_of

    def table(self, part: Part) -> pa.Table:
        """Return the table of predictions for some events.

        Raises:
            BadInput: The model has no head, or a prediction is not finite.
        """
        if self.predictor is None:
            message = f"{self.path}: a model without a head predicts nothing. Fine-tune it first."
            raise BadInput(message)
        predicted = self.predictor.predict(part.events, part.columns, self.reads)
        truth = known_truth(part.events, self.predictor.head)
        described = self.predictor.described()
        return predictions.Table(described, truth, part.files, part.entry, predicted).arrow()

    @torch.no_grad()
    def states(self, part: Part, of: Literal["events", "points"], layer: int) -> Array:
        """Return the states of events (E, W), or of points (P, W) after `layer`."""
        found: list[Array] = []
        for batch in batches(part.events, part.columns, self.reads, BATCH_EVENTS):
            there = batch.to(self.device)
            hidden = self.hidden_of(there)
            states = hidden.pooled(there) if of == "events" else hidden.points[layer]
            found.append(states.float().cpu().numpy())
        return np.concatenate(found)

    def of_store(self, path: Path, split: str) -> Iterator[Part]:
        """Yield the events of a split of a store, with their truth where the store has it.

        Raises:
            BadInput: There is no such split, or it lacks what the model reads.
        """
        head, store = self.declared.head, Store.open(path)
        truth = (*head.truth_per_point(), *head.truth_per_event()) if head is not None else ()
        own_numbers = (ROW,) if store.manifest.event_key != OF_FILE else ()
        optional = (*truth, "track_id", "noise", *OPTIONAL_TRUTH, *own_numbers)
        source = Selection(path, split, self.reads).with_optional(optional)
        source.open()
        origins, first = Origins(store, split), 0
        for events in source.stream(AT_ONCE):
            yield Part(events, store.manifest.columns, *origins.of(first, events))
            first += len(events)

    def of_files(self, names: Sequence[str]) -> Iterator[Part]:
        """Yield the events of files, read as those that the model was trained on.

        Raises:
            BadInput: Nothing says how they are read, or one of them cannot be.
        """
        source = self.declared.files
        if source is None or self.declared.cached:
            message = (
                f"{self.path}: nothing says how files are read for this model: its weights are "
                "published ones, of an earlier export, or of stored features. Give a store."
            )
            raise BadInput(message)
        check_files(list(names))
        prepared = PreparedFiles(source, self.path.absolute(), Counter())
        files = ModelFiles.of(prepared, self.reads, self.device)
        for name in names:
            for each in files.stream(name, AT_ONCE):
                yield Part(each.events, files.columns, [name] * len(each.entry), each.entry)
