"""Stage source files into one sharded store: `python -m pipeline.data.stage TASK_FOLDER`.

`--begin` settles the voxel bins, part N stages source file N, `--finish` writes the manifest.
"""

import hashlib
import json
import shutil
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.campaign import StageTask
from pipeline.data.bins import Bins, fit_bins, read_bins
from pipeline.data.checksums import sha256, unchanged
from pipeline.data.coordinates import COLUMNS, SPHENIX, UNITS, cylindrical
from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events
from pipeline.data.manifest import BinsRecord, Column, Manifest, ShardRecord, SourceRecord
from pipeline.data.program import Program, part_record, part_records, run
from pipeline.data.readers import files, read
from pipeline.data.serialise import serialise, usable
from pipeline.data.shard import write_shard
from pipeline.data.store import BINS, write_manifest
from pipeline.run import TaskFolder, read_json, write_json

BINS_SPLIT = "train"
BLOCK_EVENTS = 500
TABLE = tuple(
    Column(name=name, unit=unit, offset=offset, scale=scale)
    for name, unit, offset, scale in zip(COLUMNS, UNITS, SPHENIX.offset, SPHENIX.scale, strict=True)
)


def begin(folder: TaskFolder, task: StageTask) -> None:
    """Put the voxel bins into the store: fitted once on the first training file, or another's.

    Raises:
        BadInput: There is no training split, or no bins in the store they are to come from.
    """
    del folder
    path = task.store / BINS
    if path.exists():
        return
    if task.bins_store != task.store:
        read_bins(task.bins_store / BINS).write(path)
        return
    if BINS_SPLIT not in task.sources:
        message = (
            f"{task.key}: no split {BINS_SPLIT!r} to fit voxel bins on, only "
            f"{', '.join(task.sources)}. Name one split so, or take bins_from another dataset."
        )
        raise BadInput(message)
    source = task.sources[BINS_SPLIT][0]
    events, _ = usable(read(source)[0], task.dataset.max_points)
    normal = SPHENIX.apply(cylindrical(events).points)[:, 1:]
    fit_bins(normal, task.dataset.bins, source=str(source)).write(path)


def stage_part(folder: TaskFolder, task: StageTask, number: int) -> None:
    """Stage source file `number` of `task` into its shards, and write their record."""
    started = time.perf_counter()
    split, source = task.files[number]
    for leftover in (task.store / split).glob(f".{number:05d}-*.tmp"):
        shutil.rmtree(leftover)
    bins = read_bins(task.store / BINS)
    events, rejected = read(source)
    events, dropped = usable(events, task.dataset.max_points)
    sources = [
        SourceRecord(split=split, path=str(each), bytes=each.stat().st_size, sha256=sha256(each))
        for each in files(source)
    ]
    shards = []
    for piece, start in enumerate(range(0, len(events), task.dataset.events_per_shard)):
        name = f"{number:05d}-{piece:03d}"
        part = events.slice(start, min(start + task.dataset.events_per_shard, len(events)))
        made_from = _fingerprint(task, bins, [each.sha256 for each in sources], name)
        shards.append(_shard(task, bins, part, task.store / split / name, number, made_from))
    record = {
        "shards": [shard.model_dump(mode="json") for shard in shards],
        "sources": [each.model_dump(mode="json") for each in sources],
        "rejected": dict(Counter(rejected) + Counter(dropped)),
        "seconds": round(time.perf_counter() - started, 3),
    }
    write_json(part_record(folder, number), record)


def _shard(
    task: StageTask, bins: Bins, events: Events, path: Path, number: int, made_from: str
) -> ShardRecord:
    """Write `events` of source file `number` as the shard `path`."""
    attributes = {
        "schema": "cosmotron-events/1",
        "experiment": task.dataset.experiment,
        "columns": [column.model_dump() for column in TABLE],
    }
    return write_shard(
        path,
        prepared(task, bins, events, number),
        attributes=attributes,
        chunk_points=task.dataset.chunk_points,
        codec=task.dataset.codec,
        made_from=made_from,
    )


def prepared(task: StageTask, bins: Bins, events: Events, number: int) -> dict[str, Array]:
    """Return the arrays of a shard with `events` of source file `number`."""
    blocks = [
        serialise(
            events.slice(start, min(start + BLOCK_EVENTS, len(events))),
            bins,
            order=task.dataset.order,
            neighbours=task.dataset.neighbours,
        )
        for start in range(0, len(events), BLOCK_EVENTS)
    ]
    small = task.dataset.max_points <= np.iinfo(np.int16).max
    kind = np.int16 if small else np.int32
    arrays: dict[str, Array] = {
        "points": np.concatenate([block.events.points for block in blocks]),
        "offsets": events.offsets,
        "event_id": (number << 32) | events.event_id,
        "neighbours": np.concatenate([block.neighbours.astype(kind) for block in blocks]),
    }
    if not task.dataset.neighbours:
        del arrays["neighbours"]
    for name in events.labels:
        arrays[name] = np.concatenate([block.events.labels[name] for block in blocks])
    return arrays


def _fingerprint(task: StageTask, bins: Bins, sources: list[str], name: str) -> str:
    """Return what decides the content of the shard `name`, as one hash."""
    dataset = task.dataset.model_dump(mode="json")
    text = json.dumps([dataset, asdict(bins), sources, name], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def is_staged(folder: TaskFolder, task: StageTask, number: int) -> bool:
    """Return whether the shards of source file `number` are there and are what was written."""
    record = read_json(part_record(folder, number))
    return record is not None and all(
        unchanged(task.store / shard["split"] / shard["name"], shard["files"])
        for shard in record["shards"]
    )


def finish(folder: TaskFolder, task: StageTask) -> None:
    """Verify every shard of `task`, write the manifest and mark the task done.

    Raises:
        BadInput: A part is not done or damaged, or a split is empty or has labels for some files.
    """
    records = part_records(folder, len(task.files))
    for number, (_, source) in enumerate(task.files):
        if not is_staged(folder, task, number):
            message = f"{task.store}: the shards of {source} are damaged. Run --part {number}."
            raise BadInput(message)
    manifest = _manifest(task, records)
    write_manifest(task.store, manifest)
    folder.finish(
        {
            "events": manifest.events,
            "points": manifest.points,
            "rejected": manifest.rejected,
            "shards": len(manifest.shards),
            "seconds": sum(record["seconds"] for record in records),
        }
    )


def _manifest(task: StageTask, records: list[dict[str, Any]]) -> Manifest:
    """Return the manifest of the store that the parts with `records` made."""
    shards = [ShardRecord(**shard) for record in records for shard in record["shards"]]
    rejected: Counter[str] = sum((Counter(each["rejected"]) for each in records), Counter())
    totals: dict[str, Counter[str]] = {"events": Counter(), "points": Counter()}
    for shard in shards:
        totals["events"][shard.split] += shard.events
        totals["points"][shard.split] += shard.points
    _check_splits(task, shards)
    return Manifest(
        experiment=task.dataset.experiment,
        columns=TABLE,
        order=task.dataset.order,
        neighbours=task.dataset.neighbours,
        max_points=task.dataset.max_points,
        bins=BinsRecord(**asdict(read_bins(task.store / BINS))),
        shards=tuple(shards),
        sources=tuple(SourceRecord(**each) for record in records for each in record["sources"]),
        rejected=dict(rejected),
        events=dict(totals["events"]),
        points=dict(totals["points"]),
    )


def _check_splits(task: StageTask, shards: list[ShardRecord]) -> None:
    """Check that each split has shards, all with the same arrays.

    Raises:
        BadInput: A split has no usable event, or some of its source files lack labels.
    """
    for split in task.sources:
        kinds = {tuple(shard.arrays) for shard in shards if shard.split == split}
        if not kinds:
            message = (
                f"{task.store}: no event of split {split!r} has 1 to {task.dataset.max_points} "
                "points. Raise max_points, or give other files."
            )
            raise BadInput(message)
        if len(kinds) > 1:
            every = set.intersection(*map(set, kinds))
            odd = sorted(set.union(*map(set, kinds)) - every)
            message = (
                f"{task.store}: some files of split {split!r} lack the labels {', '.join(odd)}. "
                "Put the files without them into a split of their own."
            )
            raise BadInput(message)


STAGE = Program("stage", StageTask, part=stage_part, is_done=is_staged, finish=finish, begin=begin)

if __name__ == "__main__":
    raise SystemExit(run(STAGE))
