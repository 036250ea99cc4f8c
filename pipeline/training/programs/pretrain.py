"""Pretrain: `python -m pipeline.training.programs.pretrain TASK_FOLDER`, one process per device."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from pipeline.campaign import PretrainTask, together
from pipeline.data.loading import Selection
from pipeline.data.store import Store
from pipeline.families import Family
from pipeline.nn import systems
from pipeline.outcome import Exit
from pipeline.run import TaskFolder
from pipeline.training import loader, unseen
from pipeline.training.engine import devices, engine
from pipeline.training.engine.optimisers import with_faster
from pipeline.training.parametrisation import parametrise
from pipeline.training.programs import program
from pipeline.training.programs.finetune import start
from pipeline.training.steps.loop import fit
from pipeline.training.steps.spec import TrainSpec


def pretrain(
    task: PretrainTask, folder: TaskFolder, world: engine.World, stop: program.Stop
) -> Exit:
    """Pretrain a model on the objectives it declares."""
    events = source(task)
    store = events.open()
    weights = Path(task.model.weights) if task.model.weights else None
    unseen.begin(task, folder, weights, records=world.is_first)
    engine.join(world)
    torch.manual_seed(task.seed)
    system = systems.build(task.model, store)
    devices.check_kernels(task.model, system.module)
    if weights is not None:
        start(system.module, weights, task.model)
    scales = parametrise(system.module, partial(_module, store), task.model)
    scales = with_faster(scales, system.module, task.model.FASTER, task.training.head_rate)
    spec = TrainSpec(
        system.module,
        system.objective,
        events,
        task.seed,
        task.training,
        validation=loader.validation_events(events, task.validation),
        takes_best=loader.takes_best(task.validation),
        scales=scales,
        trunk=task.trunk,
        branch_points=task.branch_points,
        extra=system.choices | together.entry(task, world.size),
        metadata=task.model.about,
        flops_per_point=task.model.flops_per_point(_mean_points(store, task.split)),
    )
    return fit(spec, folder, world, stop)


def _module(store: Store, model: Family) -> nn.Module:
    return systems.build(model, store).module


def _mean_points(store: Store, split: str) -> float:
    return store.manifest.points[split] / store.manifest.events[split]


def source(task: PretrainTask) -> Selection:
    """Return the events of `task`: a subset, or for one pass the whole split, in its order.

    Raises:
        BadInput: The store is not there, or does not hold what is asked.
    """
    selection = Selection(task.store, task.split, task.model.reads(), task.events)
    if not task.one_pass:
        return selection
    selection.open()
    return replace(selection, events=None)


if __name__ == "__main__":
    program.leave(program.start(pretrain, PretrainTask))
