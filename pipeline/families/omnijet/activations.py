"""What the memory of OmniJet-alpha's forward pass grows with."""

from pipeline.families.activations import Growth, Taken
from pipeline.families.omnijet.spec import OmniJet


def terms(model: OmniJet, taken: Taken) -> Growth:
    """Return the blocks over the tokens, one start token an event, and the logits of all codes."""
    counted = model.padding == "counted"
    tokens = taken.points + taken.events
    rest = {
        "token width": tokens * model.width,
        "token code": tokens * model.codes,
        "token": tokens,
        "place": counted * taken.events * model.padded_to,
    }
    block = {
        "layer token width": tokens * model.width,
        "layer token head": tokens * model.heads,
        "layer token width, dropped": bool(model.dropout) * tokens * model.width,
    }
    return Growth(rest, ((model.layers, block),))
