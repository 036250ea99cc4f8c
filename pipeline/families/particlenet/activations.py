"""What the memory of ParticleNet's forward pass grows with."""

from itertools import pairwise

from pipeline.families.activations import Growth, Taken, Terms
from pipeline.families.jet_columns import CHOICES
from pipeline.families.particlenet.spec import ParticleNet


def terms(model: ParticleNet, taken: Taken) -> Growth:
    """Return the blocks, whose messages are those of all edges, and the layers behind."""
    present = min(model.neighbours, max(taken.mean - 1, 1))
    edges = taken.points * (model.neighbours if model.few_neighbours == "padded" else present)

    batched = model.norm == "batch"  # which is in single precision, also in bf16

    def block(inputs: int, width: int) -> Terms:
        return {
            "edge width, batch norm": batched * edges * width,
            "convolution edge width, batch norm": (
                batched * (model.convolutions - 1) * edges * width
            ),
            "edge width": edges * width,
            "convolution edge width": (model.convolutions - 1) * edges * width,
            "edge": edges,
            "point width": taken.points * width,
            "point input": taken.points * inputs,
            "layer pair": taken.squares,
        }

    sizes = (len(CHOICES[model.inputs]), *model.widths)
    rest = {
        "point": taken.points,
        "last point width": taken.points * sizes[-1],
        "event": taken.events * (model.inner + sizes[-1]),
    }
    return Growth(rest, tuple((1, block(a, b)) for a, b in pairwise(sizes)))
