"""What the memory of MPM's VQ-VAE grows with."""

from pipeline.families.activations import Growth, Taken
from pipeline.families.mpm.activations import encoder
from pipeline.families.mpm_vqvae.spec import MPMVQVAE


def terms(model: MPMVQVAE, taken: Taken) -> Growth:
    """Return the blocks of encoder and decoder, and the distances to all codes."""
    points, dropped = taken.points, bool(model.dropout)
    rest = {
        "point width": points * model.width,
        "point inner": points * model.inner,
        "point": points,
    }
    block = encoder(taken, model.width, model.inner, model.heads, dropped=dropped)
    quantiser = {"point code": points * model.codes}
    return Growth(rest, ((model.layers, block), (1, quantiser), (model.layers, block)))
