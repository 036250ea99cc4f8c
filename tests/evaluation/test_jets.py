"""What is measured of a jet, by hand."""

import numpy as np
import pytest

from pipeline.evaluation.jets import OF_CONSTITUENTS, OF_JETS, observables


def test_two_equal_constituents_far_apart_are_a_mass_and_no_offset():
    pt, half = 100.0, 0.3
    found = observables(np.array([pt, pt]), np.array([half, -half]), np.zeros(2), np.array([0, 2]))
    assert set(found) == {*OF_JETS, *OF_CONSTITUENTS}
    assert found["jet_pt"] == pytest.approx([2 * pt])
    assert found["jet_eta"] == pytest.approx([0])
    assert found["jet_mass"] == pytest.approx([2 * pt * np.sinh(half)])
    assert found["multiplicity"].tolist() == [2]


def test_a_jet_of_one_constituent_is_that_constituent():
    offsets = np.array([0, 1, 2])
    found = observables(np.array([50.0, 7]), np.array([0.1, -0.2]), np.array([0.3, 0.0]), offsets)
    assert found["jet_pt"] == pytest.approx([50, 7])
    assert found["jet_eta"] == pytest.approx([0.1, -0.2])
    assert found["jet_phi"] == pytest.approx([0.3, 0])
    assert found["jet_mass"] == pytest.approx([0, 0], abs=1e-3)


def test_a_jet_without_constituents_is_refused():
    with pytest.raises(ValueError, match="jet 1 has no constituent"):
        observables(np.ones(1), np.ones(1), np.ones(1), np.array([0, 1, 1]))
