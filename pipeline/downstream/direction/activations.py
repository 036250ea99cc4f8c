"""What the memory of the head grows with: the state of an event, and inner channels."""

from pipeline.downstream.direction.spec import DirectionTask
from pipeline.families.activations import Growth, Taken
from pipeline.families.family import Family, linear


def terms(task: DirectionTask, model: Family, taken: Taken) -> Growth:
    """Return the states of points, from which that of an event may be made, and its channels."""
    rest = {
        "point hidden": taken.points * model.hidden[1],
        "point": taken.points,
        "event width": taken.events * model.event_width,
        "event inner": taken.events * task.inner,
        "event": taken.events,
    }
    return Growth(rest)


def parameters(task: DirectionTask, model: Family) -> int:
    """Return the number of parameters."""
    return linear(model.event_width, task.inner) + linear(task.inner, 3)
