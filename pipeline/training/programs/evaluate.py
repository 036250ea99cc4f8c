"""Evaluate: `python -m pipeline.training.programs.evaluate TASK_FOLDER`, one process."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pipeline import claims, records
from pipeline.campaign import EvaluateTask, FinetuneTask, stored
from pipeline.data.checksums import array_hash
from pipeline.data.errors import BadInput
from pipeline.data.events import Events, concatenate
from pipeline.data.loading import Selection
from pipeline.data.loading.selection import point_array
from pipeline.data.store import Store
from pipeline.data.store.tables import read_tables
from pipeline.downstream import DownstreamTask
from pipeline.downstream.truth import Rows, Truth
from pipeline.drawing.event import events_of
from pipeline.families import Reads
from pipeline.job import batch_job_id
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import EVENT_FEATURES, FEATURES
from pipeline.nn.loading import batches
from pipeline.outcome import Exit
from pipeline.records import Evaluated, TaskProgress
from pipeline.run import TaskFolder
from pipeline.training import loader, unseen
from pipeline.training.engine import engine
from pipeline.training.network import Downstream
from pipeline.training.programs import finetune, program
from pipeline.writing import written

BATCH_EVENTS = 8
READ_EVENTS = 1024
SHOWN_EVENTS = 8
# Truth that a score uses beside what the head was trained on, where the store has it.
OPTIONAL_TRUTH = ("pt_gev",)


def evaluate(
    task: EvaluateTask, folder: TaskFolder, world: engine.World, stop: program.Stop
) -> Exit:
    """Evaluate a fine-tuned model on events it never saw."""
    began = time.monotonic()
    finetuned = stored.read(TaskFolder(task.finetuned), FinetuneTask)
    head = finetuned.head
    reads = loader.with_truth(finetuned.model, head, stored=finetuned.cached)
    source = Selection(task.store, task.split, reads).with_optional(OPTIONAL_TRUTH)
    store = source.open()
    overlap, unknown = unseen.tested(folder, task.finetuned, store, task.split)
    model = finetune.network(finetuned, store)
    finetune.adapt(model, finetuned)
    weights = finetune.trained(task.finetuned)
    model.load_state_dict(weights)
    found = _predicted(model.to(world.device).eval(), finetuned, source, store, folder, world, stop)
    if found is None:
        return Exit.CONTINUE
    predicted, truth = found
    result = head.scoring().score(predicted, truth, head, task.seed)
    claims.confirm()
    _save_shown(folder, truth, predicted, head)
    records.write(folder.pictures, result.pictures)
    scores, intervals = result.numbers
    backbone = finetuned.backbone
    folder.finish(
        Evaluated(
            task=head.task,
            scores=scores,
            intervals=intervals,
            about=dict(result.about),
            mode=finetuned.mode,
            labels=finetuned.labels,
            seed=finetuned.seed,
            family=finetuned.model.family,
            width=finetuned.model.hidden[1],
            layers=getattr(finetuned.model, "layers", None),
            pretrained=backbone.name if backbone is not None else "",
            steps=finetuned.training.steps,
            batch_events=finetuned.training.batch_events,
            learning_rate=finetuned.training.learning_rate,
            split=task.split,
            events=len(truth.event_id),
            points=int(truth.offsets[-1]),
            store_sha256=store.manifest.content_sha256,
            weights_sha256=engine.weights_hash(weights),
            predictions_sha256={name: array_hash(predicted[name]) for name in sorted(predicted)},
            overlap=overlap,
            unknown_training=unknown,
            seconds=time.monotonic() - began,
            job_id=batch_job_id(),
        )
    )
    return Exit.FINISHED


def _predicted(
    model: Downstream,
    finetuned: FinetuneTask,
    source: Selection,
    store: Store,
    folder: TaskFolder,
    world: engine.World,
    stop: program.Stop,
) -> tuple[Rows, Truth] | None:
    """Return the predictions for all events by name, and their truth; None when asked to stop.

    Events are read `READ_EVENTS` at a time, and what only the model reads of them is let go.
    """
    tables = read_tables(store.path) if source.reads.tables else {}
    predicted: dict[str, list[Any]] = {}
    truths: list[Truth] = []
    is_due, done = program.Throttle(1.0), 0
    for events in source.stream(READ_EVENTS):
        for batch in batches(events, store.manifest.columns, source.reads, BATCH_EVENTS):
            if stop.requested:
                return None
            for name, each in _predict(model, finetuned, batch.to(world.device)).items():
                predicted.setdefault(name, []).append(each)
            done += len(batch.event_id)
            if is_due():
                progress = TaskProgress(done=done, total=source.count, unit="events")
                records.write(folder.progress, progress, durable=False)
        truths.append(_truth(events, source.reads, tables))
    return {name: np.concatenate(parts) for name, parts in predicted.items()}, concatenate(truths)


@torch.no_grad()
def _predict(model: Downstream, finetuned: FinetuneTask, batch: Batch) -> Rows:
    """Return the predictions for a batch.

    Raises:
        BadInput: One is not finite.
    """
    task = finetuned.head
    predicted = task.module().predict(model(batch), batch, task)
    for name, each in predicted.items():
        if not bool(each.isfinite().all()):
            first, last = batch.event_id[0].item(), batch.event_id[-1].item()
            message = (
                f"the prediction {name!r} is not finite for events {first} to {last}. Was the "
                "training stopped by a loss of NaN?"
            )
            raise BadInput(message)
    return {name: each.cpu().numpy() for name, each in predicted.items()}


def _truth(events: Events, reads: Reads, tables: Rows) -> Truth:
    """Return the arrays of `events` that the task reads, without the features of a backbone."""
    stored, names = events.per_point, [n for n in reads.per_point if n != FEATURES]
    return replace(
        events,
        per_point={name: point_array(stored, name) for name in names},
        per_event={n: events.per_event[n] for n in reads.per_event if n != EVENT_FEATURES},
        tables={name: tables[name] for name in reads.tables},
        verified=True,
    )


def _save_shown(folder: TaskFolder, truth: Truth, predicted: Rows, task: DownstreamTask) -> None:
    """Save the first events, in physical units, for the report's event display.

    Names of arrays begin with "true_" or "predicted_".
    """
    shown = min(SHOWN_EVENTS, len(truth.event_id))
    stop, total = int(truth.offsets[shown]), int(truth.offsets[-1])

    def first(values: Any) -> Any:
        return values[:stop] if len(values) == total else values[:shown]

    true = task.truth_to_show(truth)
    arrays: dict[str, Any] = {
        "points": truth.points[:stop],
        "columns": np.array(truth.columns),
        "offsets": truth.offsets[: shown + 1],
        "event_id": truth.event_id[:shown],
        **{f"true_{name}": first(values) for name, values in true.items()},
        **{f"predicted_{name}": first(values) for name, values in predicted.items()},
        **truth.tables,
    }
    arrays |= task.pictures(events_of(arrays))
    with written(folder.events) as unfinished, unfinished.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


if __name__ == "__main__":
    program.leave(program.start(evaluate, EvaluateTask))
