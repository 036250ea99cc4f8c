"""What the memory of ParT's forward pass grows with."""

from pipeline.families.activations import Growth, Taken
from pipeline.families.part.spec import ParT


def terms(model: ParT, taken: Taken) -> Growth:
    """Return the blocks with their biases, the class blocks, and the network of pairs."""
    points, width = taken.points, model.width
    paired = taken.squares if model.interaction else 0.0
    whole = taken.squares - paired
    read, ordered = points + taken.events, model.norm == "layer"
    rest = {
        "pair head": paired * model.heads,
        "pair channel": paired * sum(model.pair_widths),
        "pair": paired,
        "pair norm": ordered * paired * len(model.pair_widths),
        "point embedding": points * sum(model.embedding),
        "point width": points * width,
        "point": points,
    }
    block = {
        "layer point width": points * width,
        "layer point width, dropped": bool(model.dropout) * points * width,
        "layer point head": points * model.heads,
        "layer pair head": paired * model.heads,
        "layer pair head, dropped": bool(model.dropout) * paired * model.heads,
        "layer pair head, plain and dropped": bool(model.dropout) * whole * model.heads,
    }
    reading = {"class layer point width": read * width, "class layer event": taken.events * width}
    return Growth(rest, ((model.layers, block), (model.class_layers, reading)))
