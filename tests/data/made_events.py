"""Small events and tasks that the tests of this room share."""

from pathlib import Path

import numpy as np

from pipeline.campaign import Dataset, SimulateTask, Simulation, StageTask, declare
from pipeline.data.events import CARTESIAN, Events, offsets_of
from pipeline.data.experiments import experiment
from pipeline.data.program import run
from pipeline.data.readers import opened
from pipeline.data.stage import STAGE
from pipeline.data.store import Store
from pipeline.run import TaskFolder


def events(sizes, *, seed=0, labelled=True, source="made.npz"):
    rng = np.random.default_rng(seed)
    count = int(np.sum(sizes))
    r, phi = rng.uniform(31.4, 75.3, count), rng.uniform(-np.pi, np.pi, count)
    z = r * np.sinh(rng.uniform(-1.1, 1.1, count))
    points = np.stack([rng.integers(10, 900, count), r * np.cos(phi), r * np.sin(phi), z], axis=1)
    labels = {}
    if labelled:
        labels = {
            "track_id": rng.integers(-3, 9, count).astype(np.int32),
            "pid": rng.integers(0, 5, count).astype(np.int8),
            "noise": rng.random(count) < 0.3,
        }
    return Events(
        source=source,
        points=points.astype(np.float32),
        offsets=offsets_of(np.asarray(sizes)),
        event_id=np.arange(len(sizes)),
        columns=CARTESIAN,
        per_point=labels,
    )


def read_all(path: Path, kind: str = "sphenix") -> tuple[Events, dict[str, int]]:
    with opened(path, experiment(kind)) as entries:
        return entries.read(0, entries.count)


def store(path: Path, sources, *, name="made", **changes) -> Store:
    """Stage `sources` in this process; return the store."""
    folder, task = stage_task(path, sources, name=name, **changes)
    steps = [["--begin"], *(["--part", str(n)] for n in range(len(task.files))), ["--finish"]]
    for step in steps:
        assert run(STAGE, [str(folder.path), *step]) == 0
    return Store.open(task.store)


def simulate_task(path: Path, **changes) -> tuple[TaskFolder, SimulateTask]:
    asked = {"experiment": "sphenix", "format": "npz", "files": {"train": 2}, "events_per_file": 3}
    task = SimulateTask(
        key="simulate/made",
        seed=11,
        simulation=Simulation(**{**asked, **changes}),
        output=path / "simulated",
    )
    folder = TaskFolder(path / "simulate")
    declare(folder, task)
    return folder, task


def stage_task(path: Path, sources, *, name="made", **changes) -> tuple[TaskFolder, StageTask]:
    bins_store = changes.pop("bins_store", path / f"{name}.zarr")
    asked = {"experiment": "sphenix", "simulation": "x", "bins": (2, 2, 3), "neighbours": 3}
    task = StageTask(
        key=f"stage/{name}",
        dataset=Dataset(**{**asked, "events_per_shard": 4, "chunk_points": 64, **changes}),
        sources={split: tuple(map(str, paths)) for split, paths in sources.items()},
        store=path / f"{name}.zarr",
        bins_store=bins_store,
    )
    folder = TaskFolder(path / f"stage-{name}")
    declare(folder, task)
    return folder, task
