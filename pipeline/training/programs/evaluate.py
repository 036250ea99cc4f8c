"""Evaluate: `python -m pipeline.training.programs.evaluate TASK_FOLDER`, one process or several.

What is predicted of every event is written first, by all processes (`training.predicting`);
the first of them then scores the file.
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline import claims, records
from pipeline.campaign import EvaluateTask, FinetuneTask, stored
from pipeline.data.checksums import sha256
from pipeline.data.identity import OF_FILE
from pipeline.data.loading import Selection
from pipeline.data.store import Store
from pipeline.data.store.places import ROW, Origins
from pipeline.downstream import DownstreamTask
from pipeline.drawing.event import events_of
from pipeline.job import batch_job_id
from pipeline.outcome import Exit
from pipeline.records import Evaluated, Overlap, PredictionsFile
from pipeline.run import TaskFolder
from pipeline.training import loader, unseen
from pipeline.training.engine import engine
from pipeline.training.predicting import OPTIONAL_TRUTH, Predicting
from pipeline.training.predictor import Predictor
from pipeline.training.programs import program
from pipeline.training.scoring import Scored, scored
from pipeline.writing import written


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
    found = scored(folder.predictions, work.source, head, task.seed)
    claims.confirm()
    units = {each.name: each.unit for each in store.manifest.columns}
    _save_shown(folder, found, Origins(store, task.split), head, units)
    records.write(folder.pictures, found.result.pictures)
    scores, intervals = found.result.numbers
    overlap, unknown = seen
    return Evaluated(
        task=head.task,
        scores=scores,
        intervals=intervals,
        about=dict(found.result.about),
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
        events=found.events,
        points=found.points,
        store_sha256=store.manifest.content_sha256,
        weights_sha256=work.predictor.weights_sha256,
        predictions_sha256=found.sha256,
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


def _save_shown(
    folder: TaskFolder,
    found: Scored,
    origins: Origins,
    task: DownstreamTask,
    units: Mapping[str, str],
) -> None:
    """Save the first events, in physical `units` by column, for the report's event display.

    Names of arrays begin with "true_" or "predicted_".
    """
    shown = found.shown
    files, entries = origins.of(0, shown)
    arrays: dict[str, Any] = {
        "source": np.array(files),
        "entry": entries,
        "points": shown.points,
        "columns": np.array(shown.columns),
        "units": np.array([units.get(name, "") for name in shown.columns]),
        "offsets": shown.offsets,
        "event_id": shown.event_id,
        **{f"true_{name}": values for name, values in task.truth_to_show(shown).items()},
        **{f"predicted_{name}": values for name, values in found.predicted.items()},
        **shown.tables,
    }
    arrays |= task.pictures(events_of(arrays))
    with written(folder.events) as unfinished, unfinished.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


if __name__ == "__main__":
    program.leave(program.start(evaluate, EvaluateTask))
