"""Evaluate: `python -m pipeline.training.evaluate TASK_FOLDER`, one process."""

import time
from typing import Any

import numpy as np
import torch

from pipeline import catalog
from pipeline.campaign import EvaluateTask, FinetuneTask
from pipeline.evaluation.tracking import evaluate_events
from pipeline.job import batch_job_id
from pipeline.run import Exit, TaskFolder, write_json
from pipeline.training import engine, loader, program
from pipeline.training.finetune import trained
from pipeline.training.loader import EventSet
from pipeline.training.models.tracks import TrackFinder, assign

BATCH_EVENTS = 8
SHOWN_EVENTS = 8


def evaluate(
    task: EvaluateTask, folder: TaskFolder, world: engine.World, stop: program.Stop
) -> Exit:
    """Evaluate a fine-tuned model on events it never saw."""
    began = time.time()
    finetuned = catalog.read(TaskFolder(task.finetuned).declaration, FinetuneTask)
    reads = loader.with_truth(finetuned.model)
    events = loader.load(loader.Source(task.store, task.split, reads))
    model = TrackFinder(finetuned.model, finetuned.head)
    weights = trained(task.finetuned)
    model.load_state_dict(weights)
    predicted = _predict(model.to(world.device).eval(), events, folder, world, stop)
    if predicted is None:
        return Exit.CONTINUE
    scores = evaluate_events(events.track, predicted, events.offsets, seed=task.seed)
    _save_shown(folder, events, predicted)
    folder.finish(
        {
            **scores.summary(),
            **_configuration(finetuned, task, events),
            "weights_sha256": engine.weights_hash(weights),
            "predicted_tracks_sha256": loader.array_hash(predicted),
            "seconds": time.time() - began,
            "job_id": batch_job_id(),
        }
    )
    return Exit.FINISHED


@torch.no_grad()
def _predict(
    model: TrackFinder,
    events: EventSet,
    folder: TaskFolder,
    world: engine.World,
    stop: program.Stop,
) -> loader.Tracks | None:
    """Return the found track of every point, None when asked to stop."""
    found = []
    tell = program.Every(1.0)
    for start in range(0, len(events), BATCH_EVENTS):
        if stop.asked:
            return None
        stop_at = min(start + BATCH_EVENTS, len(events))
        batch = events.batch(start, stop_at).to(world.device)
        found.append(assign(model(batch), batch).cpu().numpy())
        if tell():
            told = {"done": stop_at, "total": len(events), "unit": "events"}
            write_json(folder.progress, told)
    return np.concatenate(found)


def _configuration(finetuned: FinetuneTask, task: EvaluateTask, events: EventSet) -> dict[str, Any]:
    """Return the configuration behind the numbers."""
    backbone = finetuned.backbone
    return {
        "mode": finetuned.mode,
        "labels": finetuned.labels,
        "seed": finetuned.seed,
        "family": finetuned.model.family,
        "width": finetuned.model.hidden[1],
        "layers": finetuned.model.hidden[0],
        "pretrained": backbone.name if backbone is not None else "",
        "steps": finetuned.training.steps,
        "batch_events": finetuned.training.batch_events,
        "learning_rate": finetuned.training.learning_rate,
        "split": task.split,
        "store_sha256": events.store_hash,
    }


def _save_shown(folder: TaskFolder, events: EventSet, predicted: loader.Tracks) -> None:
    """Save the first events, in physical units, for the report's event display."""
    shown = min(SHOWN_EVENTS, len(events))
    stop = events.offsets[shown]
    np.savez_compressed(
        folder.path / "events.npz",
        points=events.physical(stop),
        offsets=events.offsets[: shown + 1],
        event_id=events.event_id[:shown],
        true_track=events.track[:stop],
        predicted_track=predicted[:stop],
    )


if __name__ == "__main__":
    program.leave(program.start(evaluate, EvaluateTask))
