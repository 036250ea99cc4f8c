"""What families of graph networks share: what they read of a point, and what networks cost.

Counts are those of `pipeline.nn.message_passing`.
"""

from pipeline.families.family import linear

COLUMNS = ("energy", "eta", "phi", "r")
FEATURES = 5  # energy, eta, r, and phi as cosine and sine
WAYS = 4  # of an edge: its way in eta, phi and r, and how long it is
TRACK = "track"


def norm(width: int) -> int:
    """Return the number of parameters of a LayerNorm."""
    return 2 * width


def layered(inputs: int, width: int, layers: int) -> int:
    """Return the number of parameters of linear layers to `width`, each with its LayerNorm."""
    if not layers:
        return 0
    return linear(inputs, width) + (layers - 1) * linear(width, width) + layers * norm(width)


def layered_products(inputs: int, width: int, layers: int) -> int:
    """Return the multiply-adds of such layers."""
    return width * (inputs + (layers - 1) * width) if layers else 0


def interaction(width: int, layers: int) -> int:
    """Return the number of parameters of one layer of an interaction network."""
    return 2 * layered(3 * width, width, layers) + 2 * norm(width)


def interaction_products(width: int, layers: int, edges: float) -> float:
    """Return its multiply-adds for each point, of which `edges` edges end at each."""
    of_points = layered_products(3 * width, width, layers) + 2 * width * width
    return of_points + edges * layered_products(width, width, layers)


def attention(width: int, layers: int) -> int:
    """Return the number of parameters of one layer of graph attention."""
    return 2 * layered(2 * width, width, layers) + linear(width, 1) + norm(width)


def attention_products(width: int, layers: int, edges: float) -> float:
    """Return its multiply-adds for each point, of which `edges` edges end at each."""
    of_points = layered_products(2 * width, width, layers) + 2 * width * width
    return of_points + edges * ((layers - 1) * width * width + width)
