"""What families of graph networks share: the columns of a point, and the cost of networks.

Counts are those of `pipeline.nn.message_passing`. `sizes` are the channels before, between and
after the linear maps of a network.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from pipeline.families.family import linear

COLUMNS = ("energy", "eta", "phi", "r")
FEATURES = 5  # energy, eta, r, and phi as cosine and sine
TRACK = "track"

# What the published trainings on TrackML read of a hit, each divided by a constant: nine columns of
# its cells, which `pipeline.data.experiments.trackml` does not read, and three of its place.
CELLS = ("cell_count", "cell_value", "leta", "lphi", "lx", "ly", "lz", "geta", "gphi")
PLACE = ("r", "phi", "z")

# Activations by torch's names of their classes.
Activation = Literal["SiLU", "ReLU", "LeakyReLU", "GELU", "Tanh"]


def features(columns: Sequence[str]) -> int:
    """Return the number of features of a point that has these columns."""
    return FEATURES if tuple(columns) == COLUMNS else len(columns)


def layered(sizes: Sequence[int], *, norm: bool) -> int:
    """Return the number of parameters of linear maps, with norms between them if they have any."""
    maps = sum(linear(before, after) for before, after in pairwise(sizes))
    return maps + norm * 2 * sum(sizes[1:-1])


def products(sizes: Sequence[int]) -> int:
    """Return the multiply-adds of linear maps."""
    return sum(before * after for before, after in pairwise(sizes))


def edge_products(features: int, state_width: int, sizes: Sequence[int], edges: float) -> float:
    """Return the multiply-adds for each point of a network of both ends and states of edges.

    `edges` end at each point; the first map is computed for each point and each state.
    """
    return 2 * features * sizes[0] + edges * (state_width * sizes[0] + products(sizes))
