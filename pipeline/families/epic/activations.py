"""What the memory of EPiC-FM's forward pass grows with."""

from pipeline.families.activations import Growth, Taken
from pipeline.families.epic.spec import EPiC


def terms(model: EPiC, taken: Taken) -> Growth:
    """Return the layers, in which points stand beside vectors and contexts of their events."""
    points, events, width = taken.points, taken.events, model.width
    rest = {
        "point width": points * width,
        "point context": points * model.context,
        "point": points,
        "event width": events * width,
        "event context": events * model.context,
        "weight": model.parameters().total,
    }
    block = {
        "layer point width": points * width,
        "layer point global": points * model.global_width,
        "layer point context": points * model.context,
        "layer event width": events * width,
    }
    return Growth(rest, ((model.layers, block),))
