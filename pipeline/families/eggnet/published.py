"""The names under which the authors' code keeps the weights of EggNet.

github.com/exatrkx/EggNet, eggnet/models/eggnet.py at e2bd117 (Apache-2.0).
"""

from collections.abc import Iterator

from pipeline.families.eggnet.spec import EggNet, Network
from pipeline.nn.published import Entry, layered

SOURCE = "EggNet, eggnet/models/eggnet.py (https://github.com/exatrkx/EggNet)"
LICENCE = "Apache-2.0"


def entries(model: EggNet) -> Iterator[Entry]:
    """Yield each weight by our name and by the authors'."""
    yield from _network(model, "encoder", "encoder", "node_encoder")
    yield from _network(model, "first", "first", "node_network_0")
    for number, _ in enumerate(model.networks("edges")):
        yield from _network(model, "edges", f"edges.{number}.maps", f"edge_networks.{number}")
    for number, _ in enumerate(model.networks("points")):
        yield from _network(model, "points", f"points.{number}", f"node_networks.{number}")
    for number in range(model.decoders):
        yield from _network(model, "decoder", f"decoders.{number}", f"node_decoders.{number}")


def _network(model: EggNet, network: Network, ours: str, theirs: str) -> Iterator[Entry]:
    """Yield the linear maps of a network; norms between them have no weights."""
    maps = len(model.sizes(network)) - 1
    yield from layered(f"backbone.{ours}", theirs, maps, norm="plain" if model.norm else "none")
