"""What the memory of PolarBERT's forward pass grows with."""

from dataclasses import replace

from pipeline.families.activations import Growth, Taken, Terms
from pipeline.families.fm4npp.activations import layer
from pipeline.families.polarbert.spec import MOST_PULSES, PolarBERT


def terms(model: PolarBERT, taken: Taken) -> Growth:
    """Return the layers over pulses and class tokens, and the logits of masked pulses."""
    length = MOST_PULSES if model.sees_padding else taken.mean
    tokens = taken.events * (length + 1)
    masked = model.masked * taken.points * ("sensors" in model.objective_weights)
    rest = {
        "masked sensor": masked * model.classes,
        "masked width": masked * model.width,
        "token width": tokens * model.width,
        "token": tokens,
    }
    return Growth(rest, ((model.layers, _layer(model, taken, tokens)),))


def _layer(model: PolarBERT, taken: Taken, tokens: float) -> Terms:
    """Return the terms of one layer over so many tokens."""
    width = tokens * model.width
    if model.backbone == "mamba":
        found = layer(model.mamba, replace(taken, points=tokens, longest=taken.longest + 1))
        return {f"mamba {name}": each for name, each in found.items()}
    if model.backbone == "gru":
        places = taken.events * (taken.longest + 1)
        return {"gru place width": places * model.width, "gru place": places, "gru width": width}
    inner, gated = tokens * model.inner, model.activation == "swiglu"
    # PyTorch's own layers drop weights of attention, so that those of all pairs are kept.
    pairs = bool(model.dropout and model.pytorch_layers) * tokens**2 / taken.events
    return {
        "layer token width": width,
        "layer token width, dropped": bool(model.dropout) * width,
        "layer token head": tokens * model.heads,
        "layer token inner": (not gated) * inner,
        "layer token inner, gated": gated * inner,
        "layer pair head, dropped": pairs * model.heads,
    }
