"""Predict every event of a split and keep the predictions, against the model alone; and memory.

The model is the fastest that reads jets, a small Deep Sets, so that writing weighs the most.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pipeline.campaign import EvaluateTask, FinetuneTask, Training
from pipeline.data.experiments.jetclass import COLUMNS
from pipeline.data.loading import Selection
from pipeline.data.store import Store
from pipeline.data.store.manifest import write_manifest
from pipeline.downstream.jets.spec import JetTask
from pipeline.families.deepsets.spec import DeepSets
from pipeline.run import TaskFolder
from pipeline.training import loader
from pipeline.training.engine.engine import World
from pipeline.training.link.stopping import Stop
from pipeline.training.predicting import READ_EVENTS, Predicting
from pipeline.training.predictor import Predictor
from pipeline.training.programs.finetune import network
from tests.benchmarks import samples
from tests.benchmarks.contest import Contest, Line, weighed

IN_MEMORY, READ = "the model alone, events in memory", "the model alone, events read"
TIMES = 10


def lines(folder: Path, *, jets: int) -> Iterator[Contest | Line]:
    """Yield the contest over `jets` jets, and the peak memory at ten times as many."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        yield contest(Path(made), jets=jets)
    few, many = (_peak(jets * times) for times in (1, TIMES))
    what = f"memory, predictions of {TIMES * jets:,} jets"
    yield weighed(what, many, f"of {jets:,} jets", few, aim="≤ 1.1")


def contest(folder: Path, *, jets: int) -> Contest:
    """Return the contest over `jets` jets: predicted and kept, against predicted and dropped."""
    work = prepared(folder, jets)
    held = list(work.source.stream(READ_EVENTS))

    def keep() -> None:
        work.folder.predictions.unlink(missing_ok=True)
        assert work.done_together()

    def drop(stream: Callable[[], Iterator[object]]) -> None:
        for events in stream():
            work.predictor.predict(events, COLUMNS, work.source.reads)

    return Contest(
        what="predict jets, all kept in parquet",
        amount=jets,
        unit="jets",
        ours=keep,
        others={
            IN_MEMORY: lambda: drop(lambda: iter(held)),
            READ: lambda: drop(lambda: work.source.stream(READ_EVENTS)),
        },
        limits=frozenset({IN_MEMORY, READ}),
        aims={IN_MEMORY: 0.8},
    )


def prepared(folder: Path, jets: int) -> Predicting:
    """Return the predictions to make of a store of `jets` jets, by a model that nobody trained."""
    store = _store(folder / "jets.zarr", jets)
    training = Training(
        events_seen=1,
        batch_events=1,
        learning_rate=1e-3,
        checkpoint_events=1,
        walltime_minutes=1,
    )
    task = FinetuneTask(
        key="finetune/made",
        seed=1,
        mode="scratch",
        model=DeepSets(inputs="kin", phi=(16, 16), f=(16,)),
        head=JetTask(pooling="token"),
        store=store.path,
        split="train",
        labels=1,
        training=training,
    )
    model = network(task, store).eval()
    predictor = Predictor(task.head, model, "0" * 64, torch.device("cpu"))
    source = Selection(store.path, "train", loader.with_truth(task.model, task.head))
    to = TaskFolder(folder / "evaluate")
    asked = EvaluateTask(
        key="evaluate/made", seed=1, finetuned=folder, store=store.path, split="train"
    )
    return Predicting(asked, to, task, predictor, source, store, World(), Stop(to, polls=False))


def _store(folder: Path, jets: int) -> Store:
    """Return a store of `jets` toy jets with their classes; more than a shard are copies."""
    step = min(jets, samples.EVENTS_PER_SHARD["jets"])
    rng = np.random.default_rng(1)
    one = samples.jets(step)
    one = replace(one, per_event={"label": rng.integers(0, 10, step).astype(np.int8)})
    store = samples.stored_copies(folder, "jets", one, copies=-(-jets // step))
    manifest = store.manifest.model_copy(update={"columns": COLUMNS, "experiment": "jetclass"})
    write_manifest(folder, manifest)
    return Store.open(folder)


def _peak(jets: int) -> float:
    """Return the most memory, in bytes, of a process that predicts `jets` jets."""
    command = [sys.executable, "-m", "tests.benchmarks.predicting", str(jets)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(ended.stdout)


def main() -> None:
    """Print the peak memory, in bytes, of this process, which predicts so many jets."""
    parser = argparse.ArgumentParser()
    parser.add_argument("jets", type=int)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        assert prepared(Path(folder), parser.parse_args().jets).done_together()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main()
