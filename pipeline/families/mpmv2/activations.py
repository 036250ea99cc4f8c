"""What the memory of MPM v2's forward pass grows with."""

from pipeline.families.activations import Growth, Taken, Terms
from pipeline.families.mpmv2.spec import MPMv2


def terms(model: MPMv2, taken: Taken) -> Growth:
    """Return the blocks of encoder and decoder, and what each objective's head adds."""
    points, registers = taken.points, taken.events * model.registers
    masked, named = model.masked * points, model.objective_weights
    rest = {
        "point width": points * model.width,
        "point decoder width": points * model.decoder_width * (1 + ("ssfm" in named)),
        "point": points,
        "masked code": masked * model.codes * ("tokens" in named),
        "masked cluster": masked * model.clusters * ("clusters" in named),
        "masked width, cfm": masked * model.decoder_width * ("cfm" in named),
        "masked, cnf": masked * ("cnf" in named),
        "masked width, cnf": masked * model.decoder_width * ("cnf" in named),
        "masked, ssfm": masked * ("ssfm" in named),
    }

    def block(tokens: float, width: int, heads: int) -> Terms:
        return {
            "layer point width": tokens * width,
            "layer point head": tokens * heads,
            "layer point width, scaled": bool(model.layer_scale) * tokens * width,
            "layer point width, dropped": bool(model.dropout) * tokens * width,
        }

    seen, decoders = points - masked + registers, 1 + ("ssfm" in named)
    blocks = (
        (model.layers, block(seen, model.width, model.heads)),
        (
            decoders * model.decoder_layers,
            block(points + registers, model.decoder_width, model.decoder_heads),
        ),
    )
    return Growth(rest, blocks)
