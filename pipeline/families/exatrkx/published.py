"""The names under which the authors' code keeps the weights of Exa.TrkX.

github.com/HSF-reco-and-software-triggers/Tracking-ML-Exa.TrkX at fd0b405 (no licence there),
Pipelines/TrackML_Example/LightningModules: Embedding/Models/layerless_embedding.py,
Filter/Models/vanilla_filter.py and GNN/Models/interaction_gnn.py. The authors keep each stage in a
file of its own, whose names no other has.
"""

from collections.abc import Iterator

from pipeline.families.exatrkx.spec import ExaTrkX
from pipeline.nn.published import Entry, affine, layered

SOURCE = (
    "Tracking-ML-Exa.TrkX (https://github.com/HSF-reco-and-software-triggers/Tracking-ML-Exa.TrkX)"
)
LICENCE = "none found"


def entries(model: ExaTrkX) -> Iterator[Entry]:
    """Yield each weight of all stages by our name and by the authors'."""
    yield from embedding(model)
    if model.filter_width is not None:
        yield from filter_(model)
    yield from network(model)


def embedding(model: ExaTrkX) -> Iterator[Entry]:
    """Yield each weight of the embedding."""
    maps = len(model.sizes_of_embedding) - 1
    yield from layered("backbone.embedding.net", "network", maps)


def filter_(model: ExaTrkX) -> Iterator[Entry]:
    """Yield each weight of the filter."""
    yield from affine("backbone.filter.first", "input_layer")
    for number in range(model.filter_layers - 1):
        yield from affine(f"backbone.filter.further.{number}", f"layers.{number}")
    yield from affine("backbone.filter.out", "output_layer")
    for name in ("layer", "batch"):
        yield from affine(f"backbone.filter.norms.{name}", f"{name}norm")


def network(model: ExaTrkX) -> Iterator[Entry]:
    """Yield each weight of the interaction network."""
    of_points, of_edges = (len(model.sizes(name)) for name in ("points", "edges"))
    for ours, theirs, maps in (
        ("backbone.of_points", "node_encoder", of_points),
        ("backbone.of_edges.maps", "edge_encoder", of_edges),
        ("backbone.layers.0.of_points", "node_network", of_points),
        ("backbone.layers.0.of_edges.maps", "edge_network", of_edges),
        ("classify.net.maps", "output_edge_classifier", of_edges + 1),
    ):
        yield from layered(ours, theirs, maps, norm="affine" if model.norm else "none")
