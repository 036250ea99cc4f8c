"""What the memory of Deep Sets' forward pass grows with."""

from pipeline.families.activations import Growth, Taken
from pipeline.families.deepsets.spec import DeepSets


def terms(model: DeepSets, taken: Taken) -> Growth:
    """Return the channels of each layer, of particles and of jets."""
    points, events = taken.points, taken.events
    rest = {
        "point": points,
        "point last channel": points * model.phi[-1],
        "event channel": events * sum(model.f),
        "event": events,
    }
    layers = tuple((1, {"point channel": points * width}) for width in model.phi)
    return Growth(rest, layers)
