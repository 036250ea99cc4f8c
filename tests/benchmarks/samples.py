"""Simulated events for the benchmarks, as a file and as a staged store."""

from functools import cache
from pathlib import Path

from pipeline.campaign import Dataset, StageTask, declare
from pipeline.data.events import Events
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.simulation.sample import make
from pipeline.data.stage import begin, finish, stage_part
from pipeline.run import TaskFolder


@cache
def events(count: int) -> Events:
    """Return `count` simulated events, the same ones every time."""
    return make(count, seed=1, source="benchmark").events


def npz(folder: Path, count: int) -> Path:
    """Write `count` events in TPCpp-10M's schema and return the file."""
    path = folder / "spacepoints_000.npz"
    write_npz(path, events(count), labelled=False)
    return path


def task(folder: Path, source: Path, *, neighbours: int, codec: str = "zstd") -> StageTask:
    """Return the task that stages `source` into a store below `folder`."""
    dataset = Dataset(
        experiment="sphenix",
        folder=str(source.parent),
        splits={"train": (source.name,)},
        neighbours=neighbours,
        codec=codec,
    )
    store = folder / "events.zarr"
    sources = {"train": (source,)}
    return StageTask(
        key="stage/events", dataset=dataset, sources=sources, store=store, bins_store=store
    )


def stage(folder: Path, what: StageTask) -> None:
    """Stage as the programs on a compute node do, in this process."""
    there = TaskFolder(folder / "task")
    declare(there, what)
    begin(there, what)
    for number in range(len(what.files)):
        stage_part(there, what, number)
    finish(there, what)
