"""What the memory of FM4NPP's forward pass grows with."""

from pipeline.families.activations import Growth, Taken, Terms
from pipeline.families.fm4npp.spec import COORDINATES, EXPAND, FM4NPP

# What the scans in plain PyTorch work on together: points, as in `pipeline.nn.scan`, and numbers of
# states, as in `pipeline.nn.selective`.
CHUNK, CACHED = 64, 1 << 20


def terms(model: FM4NPP, taken: Taken) -> Growth:
    """Return the layers, the embedded points, and the predicted neighbours."""
    rest = {
        "point width": taken.points * model.width,
        "point neighbour": taken.points * COORDINATES * model.neighbours,
        "point": taken.points,
    }
    return Growth(rest, ((model.layers, layer(model, taken)),))


def layer(model: FM4NPP, taken: Taken) -> Terms:
    """Return the channels and states of one layer.

    Mamba's kernel takes events padded to the longest, and keeps a state of each. Plain PyTorch
    keeps a state of each point, or of Mamba2 the decays between chunks of points.
    """
    width, state = model.width, model.width // 16
    found = {"layer point width": taken.points * width, "layer point": taken.points}
    if taken.kernels:
        return found | {
            "layer place width": taken.events * taken.longest * width,
            "layer event width state": taken.events * width * state,
        }
    chunks = taken.points / CHUNK
    rows, of_row = min(taken.events, chunks), 1 + taken.longest / CHUNK
    return found | {
        "layer state at once": min(taken.points * EXPAND * width * state, CACHED),
        "layer point width state": taken.points * width * state,
        "layer chunk chunk head": rows * of_row**2 * max(1, width // 32),
        "layer chunk width state": rows * of_row * width * state,
        "layer weight": model.layer(),
    }
