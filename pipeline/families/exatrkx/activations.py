"""What the memory of Exa.TrkX's forward pass grows with."""

from pipeline.families.activations import Growth, Taken, Terms
from pipeline.families.exatrkx.spec import ExaTrkX

ONE_SIDED = 0.25  # of the nearest of a point in many, those of which it is none itself


def terms(model: ExaTrkX, taken: Taken) -> Growth:
    """Return the steps of the network, the filter and the space, before the filter has learnt.

    Each point then has an edge to, and one from, all of its nearest, of which most see it too.
    """
    nearest, points = min(model.neighbours, taken.mean - 1), taken.points
    near = points * nearest
    edges = near * (1 + ONE_SIDED * (1 - nearest / (taken.mean - 1)))
    width, inner = model.width, model.filter_width or 0
    of_edges = (model.edge_depth or model.depth) - 1

    def maps(name: str) -> Terms:
        return {
            f"{name} edge channel": edges * of_edges * width,
            f"{name} edge width": edges * width,
            f"{name} edge": edges,
            f"{name} edge layer": edges * of_edges,
            f"{name} point channel": points * (model.depth - 1) * width,
            f"{name} point width": points * width,
        }

    rest = {
        **maps("network"),
        "filter edge width": edges * inner,
        "filter edge": edges * bool(inner),
        "near dimension": near * model.dimensions,
        "near": near,
        "point": points,
    }
    space = {"space point width": points * model.embedding_width}
    filtering = {"filter layer edge width": edges * inner, "filter layer edge": edges * bool(inner)}
    layers = model.filter_layers - 1
    blocks = (
        (model.embedding_layers, space),
        (layers * bool(inner), filtering),
        (model.layers, maps("step")),
    )
    return Growth(rest, blocks)
