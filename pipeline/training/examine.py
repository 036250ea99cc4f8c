"""Examine: `python -m pipeline.training.examine TASK_FOLDER`, one process."""

import time

import numpy as np
import torch

from pipeline import catalog
from pipeline.campaign import ExamineTask, PretrainTask
from pipeline.data.experiment import named
from pipeline.evaluation.look import Look, mean_interval
from pipeline.job import batch_job_id
from pipeline.run import Exit, TaskFolder, write_json
from pipeline.training import engine, loader, program, systems
from pipeline.training.examinations import BATCH_EVENTS, Examined
from pipeline.training.finetune import trained

# Truth that an examination likes to have beside what the model reads, where the store has it.
WELCOME = ("label",)


def examine(task: ExamineTask, folder: TaskFolder, world: engine.World, stop: program.Stop) -> Exit:
    """Examine a pretrained model on events it never saw."""
    began = time.time()
    pretrained = catalog.read(TaskFolder(task.pretrained).declaration, PretrainTask)
    model = pretrained.model
    source = loader.Source(task.store, task.split, model.reads(), task.events)
    store, events = source.open(), loader.load(loader.also(source, WELCOME))
    system = systems.build(model, store)
    weights = trained(task.pretrained, model)
    system.module.load_state_dict(weights)
    system.module.to(world.device).eval()
    examined = Examined(model, system, events, store, world.device, task.seed, folder.path)
    losses = held_out(examined, folder, stop)
    if losses is None:
        return Exit.CONTINUE
    torch.manual_seed(task.seed)
    look = named(model.EXAMINE)(examined) if model.EXAMINE else Look({})
    write_json(folder.path / "look.json", look.table())
    folder.finish(
        {
            **losses,
            "scores": look.table()["scores"],
            "family": model.family,
            "events": len(events),
            "split": task.split,
            "pretraining_events": pretrained.events,
            "weights_sha256": engine.weights_hash(weights),
            "store_sha256": events.store_hash,
            "seconds": time.time() - began,
            "job_id": batch_job_id(),
        }
    )
    return Exit.FINISHED


@torch.no_grad()
def held_out(
    examined: Examined, folder: TaskFolder, stop: program.Stop
) -> dict[str, object] | None:
    """Return the loss and its parts on events never seen, with 68 % intervals over batches of them.

    What a model draws at random, masks for one, follows from the seed. None when asked to stop.
    """
    torch.manual_seed(examined.seed)
    tell = program.Every(1.0)
    rows: list[dict[str, float]] = []
    sizes: list[int] = []
    for batch in examined.events.batches(BATCH_EVENTS):
        if stop.asked:
            return None
        there = batch.to(examined.device)
        total, losses = examined.system.objective(examined.system.module(there), there)
        rows.append({"loss": float(total)} | {name: float(each) for name, each in losses.items()})
        sizes.append(len(batch.event_id))
        if tell():
            told = {"done": sum(sizes), "total": len(examined.events), "unit": "events"}
            write_json(folder.progress, told)
    weights = np.array(sizes, float)
    found: dict[str, object] = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        found[name] = float(np.average(values, weights=weights))
        found[f"{name}_interval"] = mean_interval(values, weights, seed=examined.seed)
    return found


if __name__ == "__main__":
    program.leave(program.start(examine, ExamineTask))
