"""Predict every event of a split and keep the predictions, against the model alone; and memory.

The model is the fastest that reads jets, a small Deep Sets, so that writing weighs the most.
`python -m tests.benchmarks.predicting 1000000 --check` does both in turns, part by part, and holds
every row of the file to the store.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pipeline.campaign import EvaluateTask, FinetuneTask, Training
from pipeline.data.experiments.jetclass import COLUMNS
from pipeline.data.loading import Selection
from pipeline.data.predictions.parts import write
from pipeline.data.store import Store
from pipeline.data.store.manifest import write_manifest
from pipeline.downstream.jets.spec import JetTask
from pipeline.families import Reads
from pipeline.families.deepsets.spec import DeepSets
from pipeline.run import TaskFolder
from pipeline.training import loader
from pipeline.training.engine.engine import World
from pipeline.training.link.stopping import Stop
from pipeline.training.predicting import READ_EVENTS, READS_OF_PART, Predicting, Progress
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


def faults(path: Path, source: Selection) -> Iterator[str]:
    """Yield where the file of predictions is not what the store has: ids, labels and their order.

    The store is read a second time, event by event, and no more of either is held than a part.
    """
    rows = _rows(path)
    start, ids = 0, []
    for events in source.stream(READ_EVENTS):
        found, labels = next(rows, (events.event_id[:0],) * 2)
        stop = start + len(events)
        if not np.array_equal(found, events.event_id):
            yield f"events {start} to {stop}: other ids, or in another order"
        if not np.array_equal(labels, events.per_event["label"]):
            yield f"events {start} to {stop}: other labels"
        ids.append(found)
        start = stop
    if next(rows, None) is not None:
        yield f"more rows than the {start} events of the store"
    twice = start - len(np.unique(np.concatenate(ids)))
    if twice:
        yield f"{twice} events are missing, or there twice"


def _rows(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the ids and labels of the file's rows, as many at once as are read of the store."""
    with pq.ParquetFile(path) as file:
        for batch in _even(file, ["event_id", "truth_label"]):
            yield tuple(each.to_numpy(zero_copy_only=False) for each in batch.columns)


def _even(file: pq.ParquetFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield batches of `READ_EVENTS` rows across the row groups; the last one may be smaller."""
    held = None
    for number in range(file.num_row_groups):
        group = file.read_row_group(number, columns)
        held = group if held is None else pa.concat_tables([held, group])
        whole = len(held) // READ_EVENTS * READ_EVENTS
        for start in range(0, whole, READ_EVENTS):
            yield held.slice(start, READ_EVENTS).combine_chunks().to_batches()[0]
        held = held.slice(whole)
    if held is not None and len(held):
        yield held.combine_chunks().to_batches()[0]


def _peak(jets: int) -> float:
    """Return the most memory, in bytes, of a process that predicts `jets` jets."""
    command = [sys.executable, "-m", "tests.benchmarks.predicting", str(jets)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(ended.stdout)


def _in_turns(work: Predicting) -> np.ndarray:
    """Return the seconds (2, 2) of all events dropped and of all kept: by the clock, and of CPU.

    They take turns part by part, so that a machine that is busy at times slows both alike. What is
    kept is all that an evaluation writes: the parts, and the file that is made of them.
    """
    dropped, kept = (work.source.stream(READ_EVENTS) for _ in range(2))
    parts, total = work.parts, np.zeros((2, 2))

    def drop() -> None:
        for events in islice(dropped, READS_OF_PART):
            work.predictor.predict(events, COLUMNS, work.source.reads)

    for number in range(parts.count):
        shown = Progress(work.folder, parts.events, parts.events, shows=True)
        tables = work._tables(islice(kept, READS_OF_PART), number, shown)
        total[0] += _seconds(drop)
        total[1] += _seconds(partial(write, parts.path(number), tables))
    total[1] += _seconds(partial(parts.merge, work.folder.predictions))
    return total


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return how long `work` takes, by the clock and of the process's CPU time."""
    began = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began[0], time.process_time() - began[1]


def _held_to_store(folder: Path, jets: int) -> None:
    """Print the rate of all events dropped and kept, and what is wrong in the file."""
    work = prepared(folder, jets)
    dropped, kept = _in_turns(work)
    for name, theirs, ours in zip(("by the clock", "of CPU time"), dropped, kept, strict=True):
        print(f"{jets / theirs:,.0f} jets/s dropped, {jets / ours:,.0f} kept, {name}:", end=" ")
        print(f"{theirs / ours:.3f}")
    labels = Selection(folder / "jets.zarr", "train", Reads((), per_event=("label",)))
    print(*(list(faults(work.folder.predictions, labels)) or ["no fault"]), sep="\n")


def main() -> None:
    """Print the peak memory, in bytes, of this process, which predicts so many jets."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("jets", type=int)
    parser.add_argument("--check", action="store_true", help="print the ratio and faults instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.check:
            _held_to_store(Path(folder), options.jets)
            return
        assert prepared(Path(folder), options.jets).done_together()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main()
