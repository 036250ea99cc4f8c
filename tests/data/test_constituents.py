"""What a tokenizer takes of a jet: cut, counted, shortened, by falling pT."""

import numpy as np
import pytest

from pipeline.data.events import offsets_of
from pipeline.data.preparation.constituents import COLUMNS, constituents


def points(pt, deta=0.0, dphi=0.0):
    """Constituents (P, 3) to an axis that is known."""
    log_pt = np.log(np.asarray(pt, np.float32))
    return np.stack([log_pt, log_pt * 0 + deta, log_pt * 0 + dphi], 1).astype(np.float32)


def momenta(pt, eta, phi):
    """Massless constituents (P, 4)."""
    pt, eta, phi = (np.asarray(each, np.float64) for each in (pt, eta, phi))
    rows = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)]
    return np.stack(rows, 1).astype(np.float32)


@pytest.mark.parametrize("backward", [1, -1])
def test_the_axis_is_the_sum_of_all_momenta_and_backward_jets_are_not_mirrored(backward):
    eta, phi = backward * np.array([1.0, 1.2, 2.3, 0.2]), np.array([3.1, -3.1, 3.0, 1.0])
    given = momenta([50, 50, 1, 0.5], eta, phi)
    found = constituents(given, np.array([0, 3, 4]))
    px, py, pz = given[:3, :3].astype(np.float64).sum(0)
    axis = np.arcsinh(pz / np.hypot(px, py)), np.arctan2(py, px)
    turned = (phi[:2] - axis[1] + np.pi) % (2 * np.pi) - np.pi
    expected = np.stack([np.log([50, 50]), eta[:2] - axis[0], turned], 1)
    np.testing.assert_allclose(found.points[:2], expected, atol=1e-6)
    # The third is beyond 0.8 of the axis that it is part of; the last is its own axis.
    assert found.cut["wide"] == 1
    np.testing.assert_allclose(found.points[2], [np.log(0.5), 0, 0], atol=1e-6)


def test_constituents_without_momentum_are_counted_as_such():
    found = constituents(momenta([5, 0, 0], [0, 1, 1], 0), np.array([0, 2, 3]))
    assert found.kept.tolist() == [True, False]
    assert found.cut["without_momentum"] + found.cut["wide"] == 2
    assert found.cut["without_momentum"] >= 1


def test_constituents_stand_by_falling_pt_in_their_own_jet():
    found = constituents(points([1, 3, 2, 5, 9]), np.array([0, 3, 5]))
    assert np.exp(found.points[:, 0]) == pytest.approx([3, 2, 1, 9, 5])
    assert found.offsets.tolist() == [0, 3, 5]


def test_wide_ones_are_cut_and_counted_and_so_are_empty_jets():
    deta = np.array([0.1, 0.9, 0, 0, -0.8])
    dphi = np.array([0.1, 0, -0.85, 0, 0])
    found = constituents(points([5, 5, 5, 5, 5], deta, dphi), np.array([0, 3, 4, 5]))
    assert found.kept.tolist() == [True, True, False]
    assert found.offsets.tolist() == [0, 1, 2]
    assert found.cut == {"wide": 3, "without_momentum": 0, "beyond_128": 0, "empty": 1}


def test_the_128_hardest_are_kept():
    pt = np.random.default_rng(0).permutation(200) + 1
    found = constituents(points(pt), offsets_of(np.array([200])))
    assert np.exp(found.points[:, 0]) == pytest.approx(np.arange(200, 72, -1))
    assert found.cut["beyond_128"] == 72


def test_columns_are_normalised_to_the_features_of_omnijet_alpha():
    log_pt, deta, dphi = ((2.0 - each.offset) / each.scale for each in COLUMNS)
    assert (log_pt, deta, dphi) == pytest.approx((2.0 - 1.8, 6.0, 6.0))
