"""Pretrain: `python -m pipeline.training.pretrain TASK_FOLDER`, one process per device."""

import sys

import torch

from pipeline.campaign import PretrainTask
from pipeline.run import Exit, TaskFolder
from pipeline.training import engine, loader, program
from pipeline.training.loop import Work, carry_out
from pipeline.training.models.fm4npp import NeighbourPredictor
from pipeline.training.objectives import next_neighbours
from pipeline.training.parametrisation import parametrise


def pretrain(
    task: PretrainTask, folder: TaskFolder, world: engine.World, stop: program.Stop
) -> Exit:
    """Pretrain a model to predict the k next neighbours of every point."""
    wanted = loader.Wanted(neighbours=task.model.neighbours)
    events = source(task, wanted)
    engine.join(world)
    torch.manual_seed(task.seed)
    model = NeighbourPredictor(task.model)
    work = Work(
        model,
        next_neighbours,
        events,
        task.seed,
        task.training,
        scales=parametrise(model, NeighbourPredictor, task.model),
        trunk=task.trunk,
        branch_points=task.branch_points,
    )
    return carry_out(work, folder, world, stop)


def source(task: PretrainTask, wanted: loader.Wanted) -> loader.Source:
    """Return the events of `task`: a subset, or for one pass the whole split, in its order.

    Raises:
        BadInput: The store is not there, or does not hold what is asked.
    """
    loader.Source(task.store, task.split, wanted, task.events).open()
    return loader.Source(task.store, task.split, wanted, None if task.one_pass else task.events)


if __name__ == "__main__":
    sys.exit(program.start(pretrain, PretrainTask))
