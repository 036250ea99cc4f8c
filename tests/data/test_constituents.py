"""What a tokenizer takes of a jet: cut, counted, shortened, by falling pT."""

import numpy as np
import pytest

from pipeline.data.events import offsets_of
from pipeline.data.preparation.constituents import COLUMNS, constituents


def points(pt, deta=0.0, dphi=0.0, phi=0.7):
    pt = np.asarray(pt, np.float32)
    rows = [pt * np.cos(phi), pt * np.sin(phi), pt * 0 + deta, pt * 0 + dphi]
    return np.stack(rows, 1).astype(np.float32)


def test_constituents_stand_by_falling_pt_in_their_own_jet():
    found = constituents(points([1, 3, 2, 5, 9]), np.array([0, 3, 5]))
    assert np.exp(found.points[:, 0]) == pytest.approx([3, 2, 1, 9, 5])
    assert found.offsets.tolist() == [0, 3, 5]


def test_wide_and_massless_ones_are_cut_and_counted_and_so_are_empty_jets():
    deta = np.array([0.1, 0.9, 0, 0, -0.8])
    dphi = np.array([0.1, 0, -0.85, 0, 0])
    found = constituents(points([5, 5, 5, 0, 5], deta, dphi), np.array([0, 3, 4, 5]))
    assert found.kept.tolist() == [True, False, False]
    assert found.offsets.tolist() == [0, 1]
    assert found.cut == {"wide": 3, "without_momentum": 1, "beyond_128": 0, "empty": 2}


def test_the_128_hardest_are_kept():
    pt = np.random.default_rng(0).permutation(200) + 1
    found = constituents(points(pt), offsets_of(np.array([200])))
    assert np.exp(found.points[:, 0]) == pytest.approx(np.arange(200, 72, -1))
    assert found.cut["beyond_128"] == 72


def test_columns_are_normalised_to_the_features_of_omnijet_alpha():
    log_pt, deta, dphi = ((2.0 - each.offset) / each.scale for each in COLUMNS)
    assert (log_pt, deta, dphi) == pytest.approx((2.0 - 1.8, 6.0, 6.0))
