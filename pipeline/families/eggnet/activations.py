"""What the memory of EggNet's forward pass grows with."""

from pipeline.families.activations import Growth, Taken, Terms
from pipeline.families.eggnet.spec import EggNet


def terms(model: EggNet, taken: Taken) -> Growth:
    """Return the rounds that gradients flow through, and the pairs of the loss."""
    near = taken.points * min(model.neighbours, taken.mean - 1)
    pairs = taken.events * model.random_pairs
    pairs += taken.points * min(model.loss_neighbours, taken.mean - 1)
    rest = {
        "point channel": taken.points * sum(model.sizes("encoder")[1:]),
        "point": taken.points,
        "edge": near,
        "pair dimension": pairs * model.dimensions,
        "pair": pairs,
    }

    def round_(number: int) -> Terms:
        inner, state = sum(model.sizes("edges")[1:-1]), model.of_edges
        return {
            "round edge channel": near * inner,
            "round edge output": near * (state + 1),
            "round edge state": near * state * (number > 0),
            "round edge": near,
            "round point channel": taken.points * sum(model.sizes("points")[1:]),
            "round point width": taken.points * (model.width + state),
        }

    iterations = 1 if model.recycle else model.iterations
    blocks = tuple((iterations, round_(number)) for number in range(model.layers))
    return Growth(rest, blocks)
