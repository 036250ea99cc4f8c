"""FM4NPP's preparation of events is held to what the authors' code makes of the same points."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.data.preparation import bins, curves, neighbours
from tests.golden import fm4npp_preprocessing as preprocessing
from tests.golden.cases import Case

FOLDER = ROOT / "tests" / "golden" / "published" / "fm4npp-preprocessing"
ORDERS = ("EPR", "REP", "RPE", "PER", "zorder", "hilbert")


def failing():
    """Return the names of the arrays that are out of tolerance."""
    return {row.name for row in preprocessing.held(Case(FOLDER)) if not row.passed}


def test_columns_bins_orders_and_neighbours_are_those_of_the_authors():
    assert preprocessing.knows(Case(FOLDER))
    found = {row.name: row for row in preprocessing.held(Case(FOLDER))}
    assert {f"permutation_{order}" for order in ORDERS} <= found.keys()
    assert [row for row in found.values() if not row.passed] == []


def slow_to_fast(patch):
    groups = bins.Bins.groups
    patch(bins.Bins, "groups", lambda self, position, order: groups(self, position, order[::-1]))


def edge_above(patch):
    def indices(self, position):
        pairs = zip(self.edges, position.T, strict=True)
        return np.stack(
            [np.searchsorted(np.float32(e[1:-1]), x, side="right") for e, x in pairs], axis=1
        )

    patch(bins.Bins, "indices", indices)


def other_ranks(patch):
    def inner(values, count):
        return tuple(np.quantile(values, np.linspace(0, 1, count + 1))[1:-1].tolist())

    patch(bins, "_inner", inner)


def axes_in_order(patch):
    patch(curves, "AXES", (0, 1, 2))


def nearest_first_turned(patch):
    later = neighbours.later_neighbours
    patch(neighbours, "later_neighbours", lambda *given: later(*given)[:, ::-1].copy())


@pytest.mark.parametrize(
    ("change", "shows"),
    [
        (slow_to_fast, {"permutation_EPR", "permutation_REP", "group_RPE", "group_PER"}),
        (edge_above, {"voxel_REP"}),
        (other_ranks, {"edges_eta", "edges_phi", "edges_radius"}),
        (axes_in_order, {"permutation_zorder", "permutation_hilbert"}),
        (nearest_first_turned, {"neighbours_REP", "neighbours_in_r_order"}),
    ],
)
def test_a_change_of_the_rules_shows(monkeypatch, change, shows):
    change(monkeypatch.setattr)
    assert shows <= failing()
