"""What the memory of the VQ-VAEs' forward pass grows with."""

from pipeline.families.activations import Growth, Taken
from pipeline.families.vqvae.spec import VQVAE, VQVAEMLP, LearnedTokenizer


def terms(model: LearnedTokenizer, taken: Taken) -> Growth:
    """Return the layers of encoder and decoder, and the distances to all codes."""
    points, width = taken.points, model.hidden_width
    rest = {
        "point latent": points * model.latent,
        "point": points,
        "point width": points * width,
    }
    quantiser = {"point code": points * model.codes}
    if isinstance(model, VQVAEMLP):
        layer = {"perceptron point width": points * width}
        return Growth(rest, ((model.layers, layer), (1, quantiser), (model.layers, layer)))
    assert isinstance(model, VQVAE)
    dropped = bool(model.dropout)
    block = {
        "layer point width": points * width,
        "layer point width, dropped": dropped * points * width,
        "layer point head": points * model.heads,
        "layer pair head, dropped": dropped * taken.squares * model.heads,
    }
    return Growth(rest, ((model.blocks, block), (1, quantiser), (model.blocks, block)))
