"""Probe: `python -m pipeline.training.programs.probe TASK_FOLDER`, one process."""

import time
from pathlib import Path

import numpy as np
import torch

from pipeline import claims, records
from pipeline.campaign import PretrainTask, ProbeTask, stored
from pipeline.data.loading import Selection
from pipeline.data.store import Store
from pipeline.evaluation.result import EvaluationResult, mean_interval
from pipeline.job import batch_job_id
from pipeline.nn import systems
from pipeline.nn.batch import Batch
from pipeline.nn.systems import System
from pipeline.outcome import Exit
from pipeline.probing import Subject
from pipeline.records import Intervals, Probed, Scores, TaskProgress
from pipeline.run import TaskFolder
from pipeline.training import unseen
from pipeline.training.engine import engine
from pipeline.training.programs import program
from pipeline.training.programs.finetune import declared_in, trained

# Truth that a probe likes to have beside what the model reads, where the store has it.
WELCOME = ("label",)


def probe(task: ProbeTask, folder: TaskFolder, world: engine.World, stop: program.Stop) -> Exit:
    """Probe a pretrained model on events it never saw."""
    began = time.monotonic()
    model = declared_in(task.pretrained)
    selection = Selection(task.store, task.split, model.reads(), task.events)
    store, events = Store.open(task.store), selection.with_optional(WELCOME).load()
    overlap, unknown = unseen.tested(folder, task.pretrained, store, task.split)
    system = systems.build(model, store)
    weights = trained(task.pretrained, model)
    system.module.load_state_dict(weights)
    system.module.to(world.device).eval()
    subject = Subject(model, system, events, store, world.device, task.seed, folder.path)
    measured = held_out(subject, folder, stop)
    if measured is None:
        return Exit.CONTINUE
    losses, loss_intervals = measured
    torch.manual_seed(task.seed)
    probes = model.beside("probe")
    result = probes.probe(subject) if probes is not None else EvaluationResult({})
    claims.confirm()
    records.write(folder.pictures, result.pictures)
    scores, intervals = result.numbers
    folder.finish(
        Probed(
            family=model.family,
            losses=losses,
            scores=scores,
            intervals=intervals | loss_intervals,
            about=dict(result.about),
            events=len(events),
            split=task.split,
            pretraining_events=_pretraining_events(task.pretrained),
            weights_sha256=engine.weights_hash(weights),
            store_sha256=store.manifest.content_sha256,
            overlap=overlap,
            unknown_training=unknown,
            seconds=time.monotonic() - began,
            job_id=batch_job_id(),
        )
    )
    return Exit.FINISHED


def _pretraining_events(folder: Path) -> int | None:
    """Return how many events the model in `folder` was pretrained on, None if made elsewhere."""
    there = TaskFolder(folder)
    return stored.read(there, PretrainTask).events if there.declaration.is_file() else None


@torch.no_grad()
def held_out(
    subject: Subject, folder: TaskFolder, stop: program.Stop
) -> tuple[Scores, Intervals] | None:
    """Return the loss and its parts on events never seen, with 68 % intervals over batches of them.

    What a model draws at random, masks for one, follows from the seed. None when asked to stop.
    """
    torch.manual_seed(subject.seed)
    report = program.Throttle(1.0)
    rows: list[dict[str, float]] = []
    counted: list[dict[str, float]] = []
    done = 0
    for batch in subject.batches():
        if stop.requested:
            return None
        there = batch.to(subject.device)
        losses_of_batch, terms = _measured(subject.system, there)
        rows.append(losses_of_batch)
        counted.append(terms)
        done += len(batch.event_id)
        if report():
            progress = TaskProgress(done=done, total=len(subject.events), unit="events")
            records.write(folder.progress, progress, durable=False)
    losses: Scores = {}
    intervals: Intervals = {}
    for name in rows[0]:
        values, weights = (np.array([row[name] for row in each]) for each in (rows, counted))
        losses[name] = float(np.average(values, weights=weights))
        intervals[name] = mean_interval(values, weights, seed=subject.seed)
    return losses, intervals


def _measured(system: System, batch: Batch) -> tuple[dict[str, float], dict[str, float]]:
    """Return the loss of `batch` and its parts, and over how many terms each is a mean.

    The whole loss counts by events, if its parts are not all over the same terms.
    """
    parts = system.objective.each(system.module(batch), batch)
    terms = system.objective.terms(batch).tolist()
    named = [(name, float(loss), i) for i, each in enumerate(parts) for name, loss in each.items()]
    total = sum(system.objective.weights[i] * loss for _, loss, i in named)
    whole = terms[0] if len(set(terms)) == 1 else float(len(batch.event_id))
    losses = {"loss": total} | {name: loss for name, loss, _ in named}
    return losses, {"loss": whole} | {name: terms[i] for name, _, i in named}


if __name__ == "__main__":
    program.leave(program.start(probe, ProbeTask))
