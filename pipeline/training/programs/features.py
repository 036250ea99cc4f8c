"""Features: `python -m pipeline.training.programs.features TASK_FOLDER`, one process.

A store like the one it is made from, with what a frozen backbone makes of each point, and of each
event where it has a token for it. The layers are combined before they are written: of FM4NPP's
largest model that is 3 kB a point in place of 37. Heads then train on the store alone.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline import records
from pipeline.campaign import FeaturesTask
from pipeline.data import training_data
from pipeline.data.checksums import sha256, unchanged
from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events
from pipeline.data.loading import Selection
from pipeline.data.store import Shard, ShardRecord, Store
from pipeline.data.store.manifest import SCHEMA, SourceRecord, write_manifest
from pipeline.data.store.shard import write_shard
from pipeline.job import batch_job_id
from pipeline.nn.hidden import EVENT_FEATURES, FEATURES, HiddenOf
from pipeline.nn.loading import batches
from pipeline.outcome import Exit
from pipeline.records import Featured, Record, TaskProgress, Weights
from pipeline.run import TaskFolder
from pipeline.training.engine import engine
from pipeline.training.network import backbone_of
from pipeline.training.programs import program
from pipeline.training.programs.finetune import BACKBONE, start
from pipeline.writing import written

BATCH_EVENTS = 32
HALF_LARGEST = float(np.finfo(np.float16).max)
LEFT_OUT = frozenset({"neighbours"})  # what pretraining alone learns from


def features(
    task: FeaturesTask, folder: TaskFolder, world: engine.World, stop: program.Stop
) -> Exit:
    """Write a store with the features of a frozen backbone."""
    began = time.monotonic()
    store = Store.open(task.source)
    for split in store.splits:
        Selection(task.source, split, task.model.reads_downstream()).open()
    backbone, hidden_of = backbone_of(task.model, store)
    start(backbone, task.backbone, task.model, prefix=BACKBONE)
    trained = records.read(TaskFolder(task.backbone).result, Weights)
    digest = trained.weights_sha256 if trained is not None else ""
    backbone.requires_grad_(False).to(world.device).eval()
    writing = Writing(folder, task, store, hidden_of, digest, world.device)
    made = []
    shards = [shard for split in store.splits for shard in store.shards(split)]
    for number, shard in enumerate(shards):
        if stop.requested:
            return Exit.CONTINUE
        made.append(writing.written(number, shard))
        progress = TaskProgress(done=number + 1, total=len(shards), unit="shards")
        records.write(folder.progress, progress, durable=False)
    _finish(task, store, made)
    folder.finish(
        Featured(
            family=task.model.family,
            combine=task.combine,
            events=store.manifest.events,
            points=store.manifest.points,
            shards=len(made),
            weights_sha256=digest,
            store_sha256=Store.open(task.store).manifest.content_sha256,
            seconds=time.monotonic() - began,
            job_id=batch_job_id(),
        )
    )
    return Exit.FINISHED


class FeaturedShard(Record):
    """One shard with features; `made_from` stands for what decides its content."""

    made_from: str
    shard: ShardRecord


@dataclass(frozen=True)
class Writing:
    """The shards of one task; `digest` stands for the backbone's weights."""

    folder: TaskFolder
    task: FeaturesTask
    store: Store
    hidden_of: HiddenOf
    digest: str
    device: torch.device

    def written(self, number: int, shard: Shard) -> ShardRecord:
        """Return the record of the shard made of `shard`, written now if it was not before."""
        path = self.folder.parts / f"{number:05d}.json"
        made_from = self._made_from(shard)
        record = records.read(path, FeaturedShard)
        target = self.task.store / shard.record.split / shard.record.name
        if (
            record is not None
            and record.made_from == made_from
            and unchanged(target, record.shard.files)
        ):
            return record.shard
        for leftover in target.parent.glob(f".{target.name}.*.tmp"):  # of one that was killed
            shutil.rmtree(leftover)
        arrays, per_event = self._with_features(shard)
        made = write_shard(
            target,
            arrays,
            per_event=per_event,
            attributes={"schema": SCHEMA, "experiment": self._experiment},
            chunk_points=self.task.chunk_points,
            codec=self.task.codec,
        )
        records.write(path, FeaturedShard(made_from=made_from, shard=made))
        return made

    @property
    def _experiment(self) -> str:
        return self.store.manifest.experiment

    def _made_from(self, shard: Shard) -> str:
        """Return what decides the content of a shard, as one hash."""
        parts = [self.digest, self.task.combine, self.task.codec, shard.record.files]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _with_features(self, shard: Shard) -> tuple[dict[str, Array], frozenset[str]]:
        """Return the arrays of a shard with its features, and which of them are per event."""
        kinds = {name: each.per for name, each in shard.record.arrays.items()}
        names = tuple(name for name in kinds if name not in LEFT_OUT)
        arrays = shard.read(names)
        events = Events(
            source=str(shard.path),
            columns=tuple(column.name for column in self.store.manifest.columns),
            points=arrays["points"],
            offsets=arrays["offsets"],
            event_id=arrays["event_id"],
            per_point={name: arrays[name] for name in names if kinds[name] == "point"},
            per_event={name: arrays[name] for name in names if kinds[name] == "event"},
            verified=True,
        )
        of_points, of_events = [], []
        for point_features, event_features in self._features(events):
            of_points.append(point_features)
            of_events += [] if event_features is None else [event_features]
        arrays[FEATURES] = np.concatenate(of_points)
        if of_events:
            arrays[EVENT_FEATURES] = np.concatenate(of_events)
        return arrays, frozenset({*events.per_event, EVENT_FEATURES})

    @torch.no_grad()
    def _features(self, whole: Events) -> Iterator[tuple[Array, Array | None]]:
        """Yield the features of points (P, W) and of events (B, W), some events at a time."""
        reads, columns = self.task.model.reads_downstream(), self.store.manifest.columns
        for batch in batches(whole, columns, reads, BATCH_EVENTS):
            hidden = self.hidden_of(batch.to(self.device))
            points = combined(hidden.points, self.task.combine)
            ids = batch.event_id
            events = None if hidden.events is None else half(hidden.events, ids)
            yield half(points, ids), events


def combined(layers: Any, combine: str) -> Tensor:
    """Return one state of each point (P, W) from those of L layers."""
    last: Tensor = layers[-1]
    return torch.stack(list(layers)).mean(0) if combine == "mean" else last


def half(values: Tensor, event_id: Tensor) -> Array:
    """Return `values` in half precision: what is read of them is normalised first.

    Raises:
        BadInput: One of the events `event_id` has a value that half precision cannot hold.
    """
    if not bool((values.abs() <= HALF_LARGEST).all()):
        message = (
            f"features of events {event_id[0].item()} to {event_id[-1].item()} are no numbers of "
            f"half precision, up to {HALF_LARGEST:,.0f}; the largest is "
            f"{values.abs().max().item():g}. Was the pretraining stopped by a loss of NaN? Else "
            "fine-tune without `cache`."
        )
        raise BadInput(message)
    return values.float().cpu().numpy().astype(np.float16)


def _finish(task: FeaturesTask, store: Store, records: list[ShardRecord]) -> None:
    """Write what stands beside the shards, then the manifest: from then on the store exists."""
    for name in store.manifest.files:
        with written(task.store / name) as unfinished:
            shutil.copyfile(store.path / name, unfinished)
    seen = training_data.gathered(task.backbone, *training_data.of_store(store.path))
    training_data.write(task.store, seen)
    digest = sha256(task.store / training_data.RECORD)
    source = SourceRecord(
        path=str(store.path),
        bytes=sum(each.bytes for each in store.manifest.sources),
        sha256=store.manifest.content_sha256,
        entries=sum(store.manifest.events.values()),
    )
    changes = {
        "shards": tuple(records),
        "made_from": source,
        "neighbours": 0,
        "files": {**store.manifest.files, training_data.RECORD: digest},
    }
    write_manifest(task.store, store.manifest.model_copy(update=changes))


if __name__ == "__main__":
    program.leave(program.start(features, FeaturesTask))
