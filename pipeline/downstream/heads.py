"""What the memory of heads grows with that several downstream tasks share."""

from pipeline.families.activations import Taken, Terms
from pipeline.families.family import Family, linear


def states(model: Family, taken: Taken) -> Terms:
    """Return the states of points that a head is given of a backbone."""
    layers, hidden = model.hidden
    return {
        "point state": taken.points * max(1, layers) * hidden,
        "point hidden": taken.points * hidden,
        "point": taken.points,
        "event": taken.events,
    }


def adapted(model: Family, width: int) -> int:
    """Return the parameters of what averages a backbone's layers and brings them to `width`."""
    layers, hidden = model.hidden
    forward = linear(width, 2 * width) + linear(2 * width, width)
    return max(1, layers) + 2 * hidden + linear(hidden, width) + forward + 2 * width
