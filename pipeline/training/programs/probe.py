"""Probe: `python -m pipeline.training.programs.probe TASK_FOLDER`, one process."""

import time

import numpy as np
import torch

from pipeline import catalog, records
from pipeline.campaign import PretrainTask, ProbeTask
from pipeline.data.loading import Selection
from pipeline.data.store import Store
from pipeline.evaluation.result import EvaluationResult, mean_interval
from pipeline.job import batch_job_id
from pipeline.nn import systems
from pipeline.outcome import Exit
from pipeline.probing import Probed
from pipeline.records import TaskProgress
from pipeline.run import TaskFolder
from pipeline.training.engine import engine
from pipeline.training.programs import program
from pipeline.training.programs.finetune import trained
from pipeline.writing import write_json

# Truth that an probe likes to have beside what the model reads, where the store has it.
WELCOME = ("label",)


def probe(task: ProbeTask, folder: TaskFolder, world: engine.World, stop: program.Stop) -> Exit:
    """Probe a pretrained model on events it never saw."""
    began = time.time()
    pretrained = catalog.read(TaskFolder(task.pretrained).declaration, PretrainTask)
    model = pretrained.model
    selection = Selection(task.store, task.split, model.reads(), task.events)
    store, events = Store.open(task.store), selection.with_optional(WELCOME).load()
    system = systems.build(model, store)
    weights = trained(task.pretrained, model)
    system.module.load_state_dict(weights)
    system.module.to(world.device).eval()
    probed = Probed(model, system, events, store, world.device, task.seed, folder.path)
    losses = held_out(probed, folder, stop)
    if losses is None:
        return Exit.CONTINUE
    torch.manual_seed(task.seed)
    probes = model.beside("probe")
    result = probes.probe(probed) if probes is not None else EvaluationResult({})
    write_json(folder.path / "evaluation.json", result.table())
    folder.finish(
        {
            **losses,
            "scores": result.table()["scores"],
            "family": model.family,
            "events": len(events),
            "split": task.split,
            "pretraining_events": pretrained.events,
            "weights_sha256": engine.weights_hash(weights),
            "store_sha256": store.manifest.content_sha256,
            "seconds": time.time() - began,
            "job_id": batch_job_id(),
        }
    )
    return Exit.FINISHED


@torch.no_grad()
def held_out(probed: Probed, folder: TaskFolder, stop: program.Stop) -> dict[str, object] | None:
    """Return the loss and its parts on events never seen, with 68 % intervals over batches of them.

    What a model draws at random, masks for one, follows from the seed. None when asked to stop.
    """
    torch.manual_seed(probed.seed)
    report = program.Throttle(1.0)
    rows: list[dict[str, float]] = []
    sizes: list[int] = []
    for batch in probed.batches():
        if stop.requested:
            return None
        there = batch.to(probed.device)
        total, losses = probed.system.objective(probed.system.module(there), there)
        rows.append({"loss": float(total)} | {name: float(each) for name, each in losses.items()})
        sizes.append(len(batch.event_id))
        if report():
            progress = TaskProgress(done=sum(sizes), total=len(probed.events), unit="events")
            records.write(folder.progress, progress)
    weights = np.array(sizes, float)
    found: dict[str, object] = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        found[name] = float(np.average(values, weights=weights))
        found[f"{name}_interval"] = mean_interval(values, weights, seed=probed.seed)
    return found


if __name__ == "__main__":
    program.leave(program.start(probe, ProbeTask))
