"""What the memory of a head that classifies jets grows with."""

from pipeline.downstream.jets.spec import JetTask
from pipeline.families.activations import Growth, Taken
from pipeline.families.family import Family, linear

CLASS_BLOCKS = 3  # of "class-attention", as in `module.CLASS_BLOCKS`


def pooled(pooling: str, heads: int, inner: int, model: Family, taken: Taken) -> Growth:
    """Return what a pooling of points into an event keeps of each."""
    (_, width), points = model.hidden, taken.points
    places = taken.events * (taken.longest + 1)
    rest = {
        f"{pooling} point hidden": points * width,
        f"{pooling} place hidden": places * width,
        f"{pooling} place head": places * heads,
        f"{pooling} point inner": points * (inner or width) * (pooling == "mean"),
        f"{pooling} event": taken.events * max(width, model.event_width),
    }
    return Growth(rest)


def terms(task: JetTask, model: Family, taken: Taken) -> Growth:
    """Return the terms of the pooling."""
    return pooled(task.pooling, task.heads, task.inner, model, taken)


def count(pooling: str, inner: int, classes: int, model: Family) -> int:
    """Return the number of parameters of a pooling, and of the layer of classes."""
    _, width = model.hidden
    attention = linear(width, 3 * width) + linear(width, width)
    if pooling == "token":
        return linear(model.event_width, classes)
    if pooling == "mean":
        channels = inner or width
        return width * channels + linear(channels, 1 if classes == 2 else classes)
    if pooling == "sum":
        return linear(width, width) + linear(width, classes)
    if pooling == "class-attention":
        last = 2 * linear(width, width) + linear(width, classes)
        return width + CLASS_BLOCKS * (2 * width + attention) + last
    return width + attention + 2 * width + linear(width, classes)


def parameters(task: JetTask, model: Family) -> int:
    """Return the number of parameters."""
    return count(task.pooling, task.inner, len(task.classes), model)
