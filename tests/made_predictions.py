"""A store of small jets with their source files, and a model for them that nobody trained."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.campaign import EvaluateTask, FinetuneTask, Training, declare
from pipeline.data import training_data
from pipeline.data.events import Events, offsets_of
from pipeline.data.experiments.jetclass import CLASSES, COLUMN_NAMES, COLUMNS
from pipeline.data.identity import base_of, ids_from
from pipeline.data.part import Prepared, arrays_of
from pipeline.data.store.manifest import Manifest, ShardRecord, SourceRecord, write_manifest
from pipeline.data.store.shard import write_shard
from pipeline.downstream.jets.spec import JetTask
from pipeline.families import Model
from pipeline.families.deepsets.spec import DeepSets
from pipeline.records import Weights
from pipeline.run import TaskFolder

FILES = ("a.root", "b.root")
SHARDS = ((0, 5000), (0, 500), (1, 3500))  # file and events of each; a part ends within one
EVENTS = sum(count for _, count in SHARDS)


def jets(count: int, *, seed: int, first: int = 0) -> Events:
    """Return jets of 1 to 5 particles, every second entry of a file from `first` on."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, count)
    points = np.abs(rng.normal(size=(sizes.sum(), len(COLUMN_NAMES)))).astype(np.float32) + 1
    points[:, 3] += np.linalg.norm(points[:, :3], axis=1)  # the energy
    return Events(
        source="made",
        columns=COLUMN_NAMES,
        points=points,
        offsets=offsets_of(sizes),
        event_id=first + 2 * np.arange(count),
        per_point={
            "charge": rng.integers(-1, 2, sizes.sum()).astype(np.int8),
            "species": np.eye(5, dtype=np.bool_)[rng.integers(0, 5, sizes.sum())],
        },
        per_event={"label": rng.integers(0, len(CLASSES), count).astype(np.int8)},
    )


def jet_store(path: Path, shards: tuple[tuple[int, int], ...] = SHARDS) -> Path:
    """Write a store whose split "test" has a shard for each of `shards`."""
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in FILES]
    records, first = [], dict.fromkeys(range(len(FILES)), 0)
    for number, (file, count) in enumerate(shards):
        events = jets(count, seed=number, first=first[file])
        first[file] += 2 * count
        records.append(_shard(path, f"{file:05d}-{number:03d}", events, base_of(digests[file])))
    write_manifest(
        path,
        Manifest(
            experiment="jetclass",
            columns=COLUMNS,
            order="file",
            neighbours=0,
            min_points=1,
            max_points=256,
            fractions={},
            files={},
            sources=tuple(
                SourceRecord(path=f"/raw/{name}", bytes=1, sha256=digest, entries=first[number])
                for number, (name, digest) in enumerate(zip(FILES, digests, strict=True))
            ),
            rejected={},
            events={"test": sum(count for _, count in shards)},
            points={"test": sum(record.points for record in records)},
            shards=tuple(records),
        ),
    )
    return path


def _shard(path: Path, name: str, events: Events, base: int) -> ShardRecord:
    """Write one shard of split "test"; the entries of `events` become ids from `base` on."""
    ids = ids_from(base, events.event_id)
    no_neighbours = np.empty((len(events.points), 0), np.int16)
    arrays = arrays_of(Prepared(replace(events, event_id=ids, verified=True), no_neighbours), ids)
    return write_shard(
        path / "test" / name,
        arrays,
        per_event=frozenset({"event_id", "label"}),
        attributes={},
        chunk_points=256,
        codec="none",
    )


def finetuned(
    folder: Path, store: Path, *, seed: int = 1, model: Model | None = None
) -> TaskFolder:
    """Write the folder of a finished fine-tuning: the weights as `seed` draws them."""
    from pipeline.data.store import Store
    from pipeline.training.engine.engine import weights_hash
    from pipeline.training.programs.finetune import network
    from pipeline.training.weights import WEIGHTS, save

    training = Training(
        events_seen=1,
        batch_events=1,
        learning_rate=1e-3,
        checkpoint_events=1,
        walltime_minutes=1,
    )
    task = FinetuneTask(
        key="finetune/made",
        seed=seed,
        mode="scratch",
        model=model or DeepSets(phi=(16, 16), f=(16,)),
        head=JetTask(pooling="token"),
        store=store,
        split="train",
        labels=1,
        training=training,
    )
    made = TaskFolder(folder)
    declare(made, task)
    weights = network(task, Store.open(store)).state_dict()
    training_data.write(folder, training_data.TrainingData())
    save(weights, folder / WEIGHTS, {})
    made.finish(Weights(weights_sha256=weights_hash(weights)))
    return made


def evaluation(folder: Path, trained: TaskFolder, store: Path, split: str = "test") -> TaskFolder:
    """Declare the evaluation of a fine-tuned model; return its folder."""
    task = EvaluateTask(
        key="evaluate/made", seed=1, finetuned=trained.path, store=store, split=split
    )
    declare(TaskFolder(folder), task)
    return TaskFolder(folder)
