"""Simulated events for the benchmarks, as files and as staged stores."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from pipeline.campaign import Dataset, StageTask, declare
from pipeline.data.events import Events, concatenate, offsets_of
from pipeline.data.experiments.sphenix import SPHENIX
from pipeline.data.part import Prepared, arrays_of
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.simulation.sample import make
from pipeline.data.stage import begin, finish, stage_part
from pipeline.data.store import Manifest, Store
from pipeline.data.store.manifest import write_manifest
from pipeline.data.store.shard import write_shard
from pipeline.run import TaskFolder

UNIQUE = 500  # events worth simulating; more are copies, which no codec's window reaches
EVENTS_PER_SHARD = {"sphenix": 1024, "jets": 20_000}
PARTICLES = 40  # of a mean jet
JET_COLUMNS = ("px", "py", "pz", "energy", "deta", "dphi", "d0val", "d0err", "dzval", "dzerr")


@cache
def events(count: int) -> Events:
    """Return `count` simulated events, the same ones every time."""
    unique = make(min(count, UNIQUE), seed=1, source="benchmark").events
    copies = concatenate([unique] * -(-count // len(unique))).slice(0, count)
    copies.event_id[:] = np.arange(count)
    return replace(copies, per_point={})


@cache
def jets(count: int) -> Events:
    """Return `count` toy jets with the columns of JetClass and as many particles as those have.

    Momenta fall as a power law, impact parameters are 0 for the neutral third: what a codec sees
    is as hard to compress as in the release.
    """
    rng = np.random.default_rng(3)
    sizes = np.clip(rng.normal(PARTICLES, 12, count), 5, 128).astype(np.int64)
    points = int(sizes.sum())
    pt = 0.5 * rng.pareto(1.1, points).clip(0, 1e3) + 0.2
    deta, dphi = rng.normal(0, 0.25, (2, points))
    event = np.repeat(np.arange(count), sizes)
    eta = rng.uniform(-2, 2, count)[event] + deta
    phi = rng.uniform(-np.pi, np.pi, count)[event] + dphi
    charged = rng.random(points) < 0.65
    errors = 0.01 + 0.1 * np.stack([pt**-0.7, pt**-0.75])
    displaced = errors * rng.normal(size=(2, points))
    columns = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)]
    columns += [deta, dphi]
    for value, error in zip(displaced, errors, strict=True):
        columns += [value * charged, error * charged]
    return Events(
        source="benchmark",
        columns=JET_COLUMNS,
        points=np.column_stack(columns).astype(np.float32),
        offsets=offsets_of(sizes),
        event_id=np.arange(count),
    )


def npz(folder: Path, count: int, *, name: str = "spacepoints_000.npz") -> Path:
    """Write `count` events in TPCpp-10M's schema and return the file."""
    path = folder / name
    write_npz(path, events(count), labelled=False)
    return path


def task(folder: Path, source: Path, *, experiment: str = "sphenix", **changes) -> StageTask:
    """Return the task that stages `source` into a store below `folder`."""
    dataset = Dataset(
        experiment=experiment,
        folder=str(source.parent),
        splits={"train": (source.name,)},
        **changes,
    )
    store = folder / "events.zarr"
    return StageTask(
        key="stage/events",
        dataset=dataset,
        sources={"train": (str(source),)},
        store=store,
        bins_store=store,
    )


def stage(folder: Path, what: StageTask) -> Store:
    """Stage as the programs on a compute node do, in this process."""
    there = TaskFolder(folder / "task")
    declare(there, what)
    begin(there, what)
    for number in range(len(what.files)):
        stage_part(there, what, number)
    finish(there, what)
    return Store.open(what.store)


def stored_copies(folder: Path, kind: str, which: Events, *, copies: int) -> Store:
    """Write a shard of the events `which` and as many `copies` of it in all, each under own ids."""
    ids = (which.event_id + number * len(which) for number in range(copies))
    return _written(folder, kind, [replace(which, event_id=each) for each in ids], "zstd")


def stored(folder: Path, kind: str, which: Events, *, codec: str) -> Store:
    """Write events, as they are, into a store of several shards: what a loader reads."""
    return _written(folder, kind, list(which.slices(EVENTS_PER_SHARD[kind])), codec)


def _written(folder: Path, kind: str, parts: list[Events], codec: str) -> Store:
    """Write a shard for each of `parts`."""
    records = []
    for number, part in enumerate(parts):
        prepared = Prepared(part, np.empty((len(part.points), 0), np.int32))
        records.append(
            write_shard(
                folder / "train" / f"{number:05d}-000",
                arrays_of(prepared, part.event_id),
                per_event=frozenset({"event_id", *part.per_event}),
                attributes={},
                chunk_points=8192,
                codec=codec,
            )
        )
    manifest = Manifest(
        experiment=kind,
        columns=SPHENIX.columns,
        order="file",
        neighbours=0,
        min_points=0,
        max_points=1000,
        fractions={},
        files={},
        sources=(),
        rejected={},
        events={"train": sum(map(len, parts))},
        points={"train": sum(len(part.points) for part in parts)},
        shards=tuple(records),
    )
    write_manifest(folder, manifest)
    return Store.open(folder)
