"""What the memory of the PointGPT type's forward pass grows with."""

import math

from pipeline.families.activations import Growth, Taken, Terms
from pipeline.families.pointgpt.spec import PointGPT


def terms(model: PointGPT, taken: Taken) -> Growth:
    """Return the backbone's patches, and the points of patches in encoder and decoder."""
    each = min(model.patches, math.ceil(2 * taken.mean / model.patch_points))
    patches = taken.events * each
    points, width = patches * model.patch_points, model.width
    rest = {
        "point width": points * width,
        "pair in patch": points * model.patch_points,
        "point": points,
        "patch width": patches * width,
        "point centre": taken.events * taken.longest * each,
    }

    def of_points(heads: int) -> Terms:
        return {"layer point width": points * width, "layer point head": points * heads}

    _, encoder, decoder = model.heads
    of_patches = {
        "layer patch width": patches * width,
        "layer patch head": patches * model.heads[0],
        "layer patch pair": patches * each,
    }
    blocks = (
        (model.encoder_layers, of_points(encoder)),
        (model.backbone_layers, of_patches),
        (model.decoder_layers, of_points(decoder)),
    )
    return Growth(rest, blocks)
