"""Pretrain: `python -m pipeline.training.pretrain TASK_FOLDER`, one process per device."""

import sys

import torch

from pipeline.campaign import PretrainTask
from pipeline.run import Exit, TaskFolder
from pipeline.training import engine, loader, program, systems
from pipeline.training.loop import Work, carry_out


def pretrain(
    task: PretrainTask, folder: TaskFolder, world: engine.World, stop: program.Stop
) -> Exit:
    """Pretrain a model on the objectives it declares."""
    events = loader.Source(task.store, task.split, task.model.reads(), task.events)
    store = events.open()
    engine.join(world)
    torch.manual_seed(task.seed)
    system = systems.build(task.model, store)
    work = Work(system.module, system.objective, events, task.seed, task.training, told=system.told)
    return carry_out(work, folder, world, stop)


if __name__ == "__main__":
    sys.exit(program.start(pretrain, PretrainTask))
