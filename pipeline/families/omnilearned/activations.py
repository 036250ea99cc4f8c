"""What the memory of OmniLearned's forward pass grows with."""

from pipeline.families.activations import Growth, Taken, Terms
from pipeline.families.omnilearned.spec import CONTRASTIVE, OmniLearned


def terms(model: OmniLearned, taken: Taken) -> Growth:
    """Return the blocks of tokens and points, those of near points, and the biases of pairs.

    The body is passed by events as they are and by events in noise, where the mode has both.
    """
    passes = (model.mode != "generator") + model.noisy
    summaries = (model.mode != "generator") * passes
    tokens = taken.points + taken.events * (model.tokens + model.noisy)
    near = taken.points * min(model.nearest, taken.mean - 1)
    inner, paired = model.ratio * model.width, bool(model.pairs) * passes
    whole = paired * taken.events * (tokens / taken.events) ** 2
    compared = passes * (CONTRASTIVE in model.objective_weights)
    rest = {
        "near inner": passes * near * inner,
        "near width": passes * near * model.width,
        "near": passes * near,
        "pair inner": paired * taken.squares * inner,
        "pair head": whole * model.heads,
        "pair": whole,
        "point width": passes * taken.points * model.width,
        "point inner": passes * taken.points * inner,
        "compared": compared * taken.events * taken.longest * model.width,
        "event width": passes * taken.events * model.width,
        "event inner": passes * taken.events * inner,
        "point": passes * taken.points,
    }

    def block(count: float, *, paired: float = 0.0) -> Terms:
        return {
            "layer point width": count * model.width,
            "layer point inner": count * inner,
            "layer point head": count * model.heads,
            "layer point width, dropped": bool(model.dropout) * count * model.width,
            "layer pair head": paired * model.heads,
        }

    reading = {
        "token layer point width": tokens * model.tokens * model.width,
        "token layer token": taken.events * model.tokens * (model.width + inner),
    }
    heads = model.head_layers
    blocks = (
        (passes * model.layers, block(tokens, paired=whole / max(1, passes))),
        (passes * heads, block(near)),
        (heads * (model.mode != "classifier"), block(tokens + 2 * taken.events)),
        (heads * summaries, reading),
    )
    return Growth(rest, blocks)
