"""Evaluate: `python -m pipeline.training.evaluate TASK_FOLDER`, one process."""

import time
from typing import Any

import numpy as np
import torch

from pipeline import catalog
from pipeline.campaign import EvaluateTask, FinetuneTask
from pipeline.data.errors import BadInput
from pipeline.data.store import Store
from pipeline.data.store.tables import read_tables
from pipeline.job import batch_job_id
from pipeline.run import Exit, TaskFolder, write_json
from pipeline.training import engine, finetune, loader, program
from pipeline.training.downstream import Downstream, Rows, Truth, task_of
from pipeline.training.loader import EventSet

BATCH_EVENTS = 8
SHOWN_EVENTS = 8
ANSWERS = "answers.npz"
# Truth that a score likes to have beside what the head was trained on, where the store has it.
WELCOME = ("pt_gev",)


def evaluate(
    task: EvaluateTask, folder: TaskFolder, world: engine.World, stop: program.Stop
) -> Exit:
    """Evaluate a fine-tuned model on events it never saw."""
    began = time.time()
    finetuned = catalog.read(TaskFolder(task.finetuned).declaration, FinetuneTask)
    head = finetuned.head
    reads = loader.with_truth(finetuned.model, head, stored=finetuned.cached)
    source = loader.Source(task.store, task.split, reads)
    store = source.open()
    events = loader.load(loader.also(source, WELCOME))
    model = finetune.network(finetuned, store)
    finetune.adapt(model, finetuned)
    weights = finetune.trained(task.finetuned)
    model.load_state_dict(weights)
    told = _answers(model.to(world.device).eval(), finetuned, events, folder, world, stop)
    if told is None:
        return Exit.CONTINUE
    truth = _truth(events, store)
    look = task_of(head).score(told, truth, head, task.seed)
    _save_shown(folder, truth, events, told)
    write_json(folder.path / "look.json", look.table())
    folder.finish(
        {
            **look.table()["scores"],
            **{f"{name}_interval": _plain(each) for name, each in look.intervals.items()},
            **_configuration(finetuned, task, events),
            "weights_sha256": engine.weights_hash(weights),
            "answers_sha256": {name: loader.array_hash(told[name]) for name in sorted(told)},
            "seconds": time.time() - began,
            "job_id": batch_job_id(),
        }
    )
    return Exit.FINISHED


@torch.no_grad()
def _answers(
    model: Downstream,
    finetuned: FinetuneTask,
    events: EventSet,
    folder: TaskFolder,
    world: engine.World,
    stop: program.Stop,
) -> Rows | None:
    """Return what the head tells of all events, by name; None when asked to stop.

    Raises:
        BadInput: It tells what is no number.
    """
    found: dict[str, list[Any]] = {}
    tell, answer = program.Every(1.0), task_of(finetuned.head).answer
    for start in range(0, len(events), BATCH_EVENTS):
        if stop.asked:
            return None
        stop_at = min(start + BATCH_EVENTS, len(events))
        batch = events.batch(start, stop_at).to(world.device)
        for name, each in answer(model(batch), batch, finetuned.head).items():
            if not bool(each.isfinite().all()):
                message = (
                    f"{folder.path.name}: the model tells a {name} that is no number, of events "
                    f"{start} to {stop_at - 1}. Was its training stopped by a loss of NaN?"
                )
                raise BadInput(message)
            found.setdefault(name, []).append(each.cpu().numpy())
        if tell():
            told = {"done": stop_at, "total": len(events), "unit": "events"}
            write_json(folder.progress, told)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _plain(interval: tuple[float, float]) -> list[float | None]:
    """Return an interval as JSON has it: an end that is no number, or infinite, is null."""
    return [end if np.isfinite(end) else None for end in interval]


def _truth(events: EventSet, store: Store) -> Truth:
    """Return what is known of all events."""
    reads = events.reads
    tables = read_tables(store.path) if reads.tables else {}
    return Truth(
        per_point={name: events.per_point(name) for name in reads.per_point},
        per_event={name: events.per_event(name) for name in reads.per_event},
        tables={name: tables[name] for name in reads.tables},
        offsets=events.offsets,
        points=events.physical(int(events.offsets[-1])),
        columns=[column.name for column in events.columns],
    )


def _configuration(finetuned: FinetuneTask, task: EvaluateTask, events: EventSet) -> dict[str, Any]:
    """Return the configuration behind the numbers."""
    backbone = finetuned.backbone
    return {
        "task": finetuned.head.task,
        "mode": finetuned.mode,
        "labels": finetuned.labels,
        "seed": finetuned.seed,
        "family": finetuned.model.family,
        "width": finetuned.model.hidden[1],
        "layers": getattr(finetuned.model, "layers", None),
        "pretrained": backbone.name if backbone is not None else "",
        "steps": finetuned.training.steps,
        "batch_events": finetuned.training.batch_events,
        "learning_rate": finetuned.training.learning_rate,
        "split": task.split,
        "events": len(events),
        "points": int(events.offsets[-1]),
        "store_sha256": events.store_hash,
    }


def _save_shown(folder: TaskFolder, truth: Truth, events: EventSet, told: Rows) -> None:
    """Save the first events, in physical units, for the report's event display.

    Arrays of what is true and told bear these words before their names.
    """
    shown = min(SHOWN_EVENTS, len(events))
    stop = int(events.offsets[shown])
    total = int(events.offsets[-1])

    def first(values: Any) -> Any:
        return values[:stop] if len(values) == total else values[:shown]

    true = {**truth.per_point, **truth.per_event}
    arrays: dict[str, Any] = {
        "points": truth.points[:stop],
        "columns": np.array(truth.columns),
        "offsets": events.offsets[: shown + 1],
        "event_id": events.event_id[:shown],
        **{f"true_{name}": first(values) for name, values in true.items()},
        **{f"predicted_{name}": first(values) for name, values in told.items()},
        **truth.tables,
    }
    np.savez_compressed(folder.path / "events.npz", **arrays)


if __name__ == "__main__":
    program.leave(program.start(evaluate, EvaluateTask))
