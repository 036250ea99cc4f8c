"""What the memory of the track-finding head grows with."""

from pipeline.downstream.heads import states
from pipeline.downstream.tracks.spec import TrackTask
from pipeline.families.activations import Growth, Taken
from pipeline.families.family import Family, linear


def terms(task: TrackTask, model: Family, taken: Taken) -> Growth:
    """Return points, padded to the longest event, queries, and a mask of each query."""
    width, queries = task.width, taken.events * task.queries
    places = taken.events * taken.longest
    rest = {
        **states(model, taken),
        "point width": taken.points * width,
        "place width": places * width,
        "query width": queries * width,
        "query place": queries * taken.longest,
        "query": queries,
    }
    block = {
        "round query width": queries * width,
        "round query inner": queries * task.inner,
        "round place width": places * width,
        "round query place": queries * taken.longest,
        "round query place head": queries * taken.longest * task.heads,
        "round query query head": queries * task.queries * task.heads,
        "round query": queries,
    }
    return Growth(rest, ((task.layers, block),))


def parameters(task: TrackTask, model: Family) -> int:
    """Return the number of parameters."""
    layers, hidden = model.hidden
    width, norm = task.width, 2 * task.width

    def perceptron(outputs: int) -> int:
        return norm + linear(width, width) + linear(width, outputs)

    attention = linear(width, 3 * width) + linear(width, width)
    inner = linear(width, task.inner) + linear(task.inner, width)
    points = max(1, layers) + 2 * hidden + linear(hidden, width) + width + perceptron(width)
    kinds = 3 if task.noise == "class" else 2
    queries = 2 * task.queries * width + perceptron(kinds) + perceptron(width)
    return points + queries + task.layers * (3 * norm + 2 * attention + inner)
