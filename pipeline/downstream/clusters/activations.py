"""What the memory of a head that puts points into a space grows with."""

from pipeline.downstream.clusters.spec import ClusterTask
from pipeline.downstream.heads import adapted, states
from pipeline.families.activations import Growth, Taken
from pipeline.families.family import Family, linear


def terms(task: ClusterTask, model: Family, taken: Taken) -> Growth:
    """Return the states of points, and the pairs of the loss; nothing on a backbone's own space."""
    trained = task.space == "head"
    pairs = taken.events * task.random_pairs
    pairs += taken.points * min(task.loss_neighbours, taken.mean - 1)
    rest = {
        **states(model, taken),
        "point width": taken.points * task.width,
        "pair dimension": pairs * task.dimensions,
        "pair": pairs,
    }
    return Growth({name: trained * each for name, each in rest.items()})


def parameters(task: ClusterTask, model: Family) -> int:
    """Return the number of parameters."""
    if task.space != "head":
        return 0
    return adapted(model, task.width) + linear(task.width, task.dimensions)
