"""Pretrain: `python -m pipeline.training.pretrain TASK_FOLDER`, one process per device."""

import sys

import torch

from pipeline.campaign import PretrainTask
from pipeline.run import Exit, TaskFolder
from pipeline.training import engine, loader, program
from pipeline.training.loop import Work, carry_out
from pipeline.training.models.fm4npp import NeighbourPredictor
from pipeline.training.objectives import next_neighbours


def pretrain(
    task: PretrainTask, folder: TaskFolder, world: engine.World, stop: program.Stop
) -> Exit:
    """Pretrain a model to predict the k next neighbours of every point."""
    wanted = loader.Wanted(neighbours=task.model.neighbours)
    events = loader.Source(task.store, task.split, wanted, task.events)
    events.open()
    engine.join(world)
    torch.manual_seed(task.seed)
    work = Work(NeighbourPredictor(task.model), next_neighbours, events, task.seed, task.training)
    return carry_out(work, folder, world, stop)


if __name__ == "__main__":
    sys.exit(program.start(pretrain, PretrainTask))
