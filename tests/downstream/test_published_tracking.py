"""Efficiency and purity by FM4NPP's own rules are what the authors' code makes of such tracks."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")  # which the reader of weights needs

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.evaluation import published_tracking
from pipeline.evaluation.tracks import evaluate_tracks
from tests.golden import fm4npp_evaluation as golden
from tests.golden.cases import Case

FOLDER = ROOT / "tests" / "golden" / "published" / "fm4npp-evaluation"


def failing():
    """Return the names of the arrays that are out of tolerance."""
    return {row.name for row in golden.held(Case(FOLDER)) if not row.passed}


def test_scores_are_those_of_the_authors():
    assert golden.knows(Case(FOLDER))
    assert failing() == set()


def upper_edge_outside(patch):
    patch(published_tracking, "EDGES_GEV", np.linspace(0, 2.4, 16))


def least_purity(patch):
    def smallest(values, index, count):
        found = np.ones(count)
        np.minimum.at(found, index, values)
        return found

    patch(published_tracking, "_largest", smallest)


def noise_without_bin(patch):
    bins = published_tracking._bin_of_tracks
    patch(
        published_tracking,
        "_bin_of_tracks",
        lambda table, pt: np.where(table.particles.id == 0, -1, bins(table, pt)),
    )


def five_points(patch):
    rule = golden.Rule(min_shared_points=5)
    patch(golden, "SETTINGS", {"": (rule, 0.0)})


@pytest.mark.parametrize(
    ("change", "shows"),
    [
        (upper_edge_outside, {"eff_n_total_tracks", "mean_purity"}),
        (least_purity, {"eff_track_hit_efficiency", "pur_purity"}),
        (noise_without_bin, {"eff_n_total_tracks", "integrated_efficiency", "mean_purity"}),
        (five_points, {"eff_n_efficient_tracks"}),
    ],
)
def test_a_change_of_the_rules_shows(monkeypatch, change, shows):
    change(monkeypatch.setattr)
    assert shows <= failing()


def test_both_ways_to_count_are_named_in_one_result():
    true = np.repeat([0, 5, 7], 6)
    found = np.repeat([1, 2, 3], 6)  # noise is a found track
    offsets, pt = np.array([0, 18]), np.repeat([0.0, 0.5, 1.5], 6)
    result = evaluate_tracks(true, found, offsets, seed=1, pt_gev=pt)
    assert result.scores["track_purity"] == pytest.approx(2 / 3)
    assert result.scores["track_efficiency_FM4NPP"] == 1.0
    assert result.scores["track_purity_FM4NPP"] == pytest.approx(3 / 15)  # of 15 bins, 12 empty
    assert {"track_efficiency_FM4NPP", "track_purity_FM4NPP"} <= result.about.keys()
    assert result.scores["track_efficiency_ExaTrkX"] == 1.0
    assert result.scores["fake_rate_ExaTrkX"] == 0.0  # noise is a particle, and a found track of it
    without = evaluate_tracks(true, found, offsets, seed=1)
    assert "fake_rate_ExaTrkX" in without.scores
    assert "track_purity_FM4NPP" not in without.scores


def test_a_point_without_a_track_is_a_track_of_one_for_exatrkx():
    true, found = np.repeat([1, 2, 0], 4), np.repeat([1, 0, 0], 4)
    scores = evaluate_tracks(true, found, np.array([0, 12]), seed=1).scores
    assert scores["track_efficiency_ExaTrkX"] == pytest.approx(1 / 3)
    assert scores["fake_rate_ExaTrkX"] == 0.0  # too short to count
    assert scores["duplicate_rate_ExaTrkX"] == 0.0
