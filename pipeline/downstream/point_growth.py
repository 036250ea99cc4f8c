"""What the memory of a head on points grows with: a block of self-attention, a linear layer."""

from pipeline.downstream.heads import adapted, states
from pipeline.downstream.points import PointTask
from pipeline.families.activations import Growth, Taken
from pipeline.families.family import Family, linear


def terms(task: PointTask, model: Family, taken: Taken) -> Growth:
    """Return the states of points, and the channels and heads of the block."""
    found = {"point width": taken.points * task.width, "point head": taken.points * task.heads}
    return Growth({**states(model, taken), **found})


def parameters(task: PointTask, model: Family) -> int:
    """Return the number of parameters."""
    width = task.width
    block = 4 * width + linear(width, 3 * width) + linear(width, width)
    block += linear(width, 2 * width) + linear(2 * width, width)
    return adapted(model, width) + block + linear(width, len(getattr(task, "NAMES", ("pt",))))
