"""What the memory of MPM's forward pass grows with."""

from pipeline.families.activations import Growth, Taken, Terms
from pipeline.families.mpm.spec import MPM


def encoder(taken: Taken, width: int, inner: int, heads: int, *, dropped: bool) -> Terms:
    """Return the terms of a block of an encoder; if weights of attention drop, all are kept."""
    return {
        "layer point width": taken.points * width,
        "layer point inner": taken.points * inner,
        "layer point head": taken.points * heads,
        "layer pair head, dropped": dropped * taken.squares * heads,
    }


def terms(model: MPM, taken: Taken) -> Growth:
    """Return the blocks of both encoders, and the logits of masked constituents."""
    points, dropped = taken.points, bool(model.dropout)
    masked, named = model.masked * points, model.objective_weights
    second = points * (model.positions == "second_encoder")
    logits = {"tokens": model.codes, "clusters": model.clusters}
    rest = {
        "point width": points * model.width,
        "point inner": points * model.inner,
        "second point width": second * model.second_width,
        "second point inner": second * model.second_inner,
        "point": points,
        "masked code": masked * sum(logits.get(name, 0) for name in named),
    }
    first = encoder(taken, model.width, model.inner, model.heads, dropped=dropped)
    others = encoder(
        taken, model.second_width, model.second_inner, model.second_heads, dropped=dropped
    )
    return Growth(rest, ((model.layers, first), (model.second_layers * bool(second), others)))
