"""Evaluate: `python -m pipeline.training.programs.evaluate TASK_FOLDER`, one process or several.

What is predicted of every event is written first, by all processes (`training.predicting`);
the first of them then scores the file.
"""

import time
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline import claims, records
from pipeline.campaign import EvaluateTask, FinetuneTask, stored
from pipeline.data import predictions
from pipeline.data.checksums import array_hash, sha256
from pipeline.data.events import Events, concatenate
from pipeline.data.identity import OF_FILE
from pipeline.data.loading import Selection
from pipeline.data.store import Store
from pipeline.data.store.places import ROW, Origins
from pipeline.data.store.tables import read_tables
from pipeline.downstream import DownstreamTask
from pipeline.downstream.truth import Rows, Truth
from pipeline.drawing.event import events_of
from pipeline.job import batch_job_id
from pipeline.nn.hidden import EVENT_FEATURES, FEATURES
from pipeline.outcome import Exit
from pipeline.records import Evaluated, Overlap, PredictionsFile
from pipeline.run import TaskFolder
from pipeline.training import loader, unseen
from pipeline.training.engine import engine
from pipeline.training.predicting import OPTIONAL_TRUTH, READ_EVENTS, Predicting, truth_of
from pipeline.training.predictor import Predictor
from pipeline.training.programs import program
from pipeline.writing import written

SHOWN_EVENTS = 8


def evaluate(
    task: EvaluateTask, folder: TaskFolder, world: engine.World, stop: program.Stop
) -> Exit:
    """Evaluate a fine-tuned model on events it never saw."""
    began = time.monotonic()
    finetuned = stored.read(TaskFolder(task.finetuned), FinetuneTask)
    source = source_of(task, finetuned)
    store = source.open()
    seen = unseen.tested(folder, task.finetuned, store, task.split)
    predictor = Predictor.load(task.finetuned, finetuned, store, world.device)
    work = Predicting(task, folder, finetuned, predictor, source, store, world, stop)
    if not work.is_done and not work.done_together():
        return Exit.CONTINUE
    if world.is_first:
        folder.finish(_scored(work, seen, began))
    return Exit.FINISHED


def source_of(task: EvaluateTask, finetuned: FinetuneTask) -> Selection:
    """Return the events to evaluate, with what the model reads of them and their truth."""
    reads = loader.with_truth(finetuned.model, finetuned.head, stored=finetuned.cached)
    own_numbers = Store.open(task.store).manifest.event_key != OF_FILE
    optional = (*OPTIONAL_TRUTH, *((ROW,) if own_numbers else ()))
    return Selection(task.store, task.split, reads).with_optional(optional)


def _scored(
    work: Predicting, seen: tuple[tuple[Overlap, ...], tuple[str, ...]], began: float
) -> Evaluated:
    """Return the scores of what was predicted; pictures and first events are written beside it."""
    task, folder, finetuned = work.task, work.folder, work.finetuned
    head, store, backbone = finetuned.head, work.store, finetuned.backbone
    predicted = predictions.arrays(folder.predictions)
    truth, shown = _whole_truth(work.source, head)
    result = head.scoring().score(predicted, truth, head, task.seed)
    claims.confirm()
    origins = Origins(store, task.split)
    _save_shown(folder, shown, origins, truth, predicted, head)
    records.write(folder.pictures, result.pictures)
    scores, intervals = result.numbers
    overlap, unknown = seen
    return Evaluated(
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
        weights_sha256=work.predictor.weights_sha256,
        predictions_sha256={name: array_hash(predicted[name]) for name in sorted(predicted)},
        predictions=_file(folder),
        overlap=overlap,
        unknown_training=unknown,
        seconds=time.monotonic() - began,
        job_id=batch_job_id(),
    )


def _file(folder: TaskFolder) -> PredictionsFile:
    """Return what there is to say of the file of predictions."""
    path = folder.predictions
    return PredictionsFile(file=path.name, bytes=path.stat().st_size, sha256=sha256(path))


def _whole_truth(source: Selection, head: DownstreamTask) -> tuple[Truth, Truth]:
    """Return the truth of all events as the score takes it, and of the first ones with all columns.

    What only the model reads of them is not read.
    """
    reads = replace(
        source.reads,
        per_point=tuple(name for name in source.reads.per_point if name != FEATURES),
        per_event=tuple(name for name in source.reads.per_event if name != EVENT_FEATURES),
        neighbours=0,
        physical=False,
    )
    tables = read_tables(source.path) if reads.tables else {}
    truths: list[Truth] = []
    shown: Truth | None = None
    for events in replace(source, reads=reads).stream(READ_EVENTS):
        truth = truth_of(events, reads, tables)
        shown = truth.slice(0, min(SHOWN_EVENTS, len(truth))) if shown is None else shown
        truths.append(_with_columns(truth, head.SCORED_COLUMNS))
    assert shown is not None, "a split has events"
    return concatenate(truths), shown


def _with_columns(events: Events, names: frozenset[str] | None) -> Events:
    """Return `events` with those columns of their points that are in `names`; with all for None."""
    if names is None:
        return events
    chosen = [number for number, name in enumerate(events.columns) if name in names]
    columns = tuple(events.columns[number] for number in chosen)
    return replace(events, points=events.points[:, chosen], columns=columns, verified=True)


def _save_shown(
    folder: TaskFolder,
    shown: Truth,
    origins: Origins,
    truth: Truth,
    predicted: Rows,
    task: DownstreamTask,
) -> None:
    """Save the first events, in physical units, for the report's event display.

    Names of arrays begin with "true_" or "predicted_".
    """
    stop, total = int(shown.offsets[-1]), int(truth.offsets[-1])

    def first(values: Any) -> Any:
        return values[:stop] if len(values) == total else values[: len(shown)]

    files, entries = origins.of(0, shown)
    arrays: dict[str, Any] = {
        "source": np.array(files),
        "entry": entries,
        "points": shown.points,
        "columns": np.array(shown.columns),
        "offsets": shown.offsets,
        "event_id": shown.event_id,
        **{f"true_{name}": values for name, values in task.truth_to_show(shown).items()},
        **{f"predicted_{name}": first(values) for name, values in predicted.items()},
        **shown.tables,
    }
    arrays |= task.pictures(events_of(arrays))
    with written(folder.events) as unfinished, unfinished.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


if __name__ == "__main__":
    program.leave(program.start(evaluate, EvaluateTask))
