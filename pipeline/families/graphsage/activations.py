"""What the memory of GraphSAGE's forward pass grows with."""

from pipeline.families.activations import Growth, Taken
from pipeline.families.graphsage.spec import GraphSAGE


def terms(model: GraphSAGE, taken: Taken) -> Growth:
    """Return the layers, in which neighbours are averaged, and the edges."""
    near = taken.points * min(model.neighbours, taken.mean - 1)
    rest = {
        "near": near,
        "point width": taken.points * model.width,
        "point": taken.points,
    }
    block = {
        "layer near width": near * model.width,
        "layer point width": taken.points * model.width,
        "layer point": taken.points,
    }
    return Growth(rest, ((model.layers, block),))
