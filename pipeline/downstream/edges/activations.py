"""What the memory of a head that classifies edges grows with."""

from pipeline.downstream.edges.spec import EdgeTask
from pipeline.downstream.heads import adapted, states
from pipeline.families.activations import Growth, Taken
from pipeline.families.exatrkx.activations import ONE_SIDED
from pipeline.families.exatrkx.spec import ExaTrkX
from pipeline.families.family import Family, linear


def terms(task: EdgeTask, model: Family, taken: Taken) -> Growth:
    """Return the states of points and of edges, in both directions between nearest points."""
    neighbours = getattr(model, "neighbours", 0) if model.LEARNS_SPACE else task.neighbours
    nearest = min(neighbours, taken.mean - 1)
    edges = taken.points * nearest * (1 + ONE_SIDED * (1 - nearest / (taken.mean - 1)))
    rest = {
        **states(model, taken),
        "point width": taken.points * task.width,
        "edge channel": edges * task.width * (task.depth - 1),
        "edge width": edges * task.width,
        "edge layer": edges * task.depth,
        "edge": edges,
    }
    return Growth(rest)


def parameters(task: EdgeTask, model: Family) -> int:
    """Return the number of parameters."""
    with_states = isinstance(model, ExaTrkX)
    width, features = task.width, model.hidden[1] if with_states else task.width
    first = linear((3 if with_states else 2) * features, width)
    inner = (task.depth - 1) * linear(width, width) + task.depth * 2 * width
    return (0 if with_states else adapted(model, width)) + first + inner + linear(width, 1)
