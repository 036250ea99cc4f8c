"""Shapes of jets: those of their definitions, worked out here another way."""

import time

import numpy as np
import pytest

fastjet = pytest.importorskip("fastjet")

from pipeline.evaluation.jets import OF_SHAPES, RADIUS, shapes  # noqa: E402


def jets(sizes, seed=0):
    """pT, Δη, Δφ of as many constituents each, and offsets."""
    rng = np.random.default_rng(seed)
    count = sum(sizes)
    inside = rng.normal(0, 0.25, (2, count))
    return rng.exponential(10, count), *inside, np.cumsum([0, *sizes])


def turn(angle):
    return (angle + np.pi) % (2 * np.pi) - np.pi


def subjettiness(pt, eta, phi, count):
    """Thaler, Van Tilburg, arXiv:1011.2268, eq. 1."""
    if len(pt) <= count:
        return 0.0
    momenta = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)
    inputs = [fastjet.PseudoJet(*map(float, each)) for each in zip(*momenta, strict=True)]
    definition = fastjet.JetDefinition(fastjet.kt_algorithm, 100.0)
    sequence = fastjet.ClusterSequence(inputs, definition)
    axes = np.array([(each.rap(), each.phi()) for each in sequence.exclusive_jets(count)])
    away = np.hypot(eta[:, None] - axes[:, 0], turn(phi[:, None] - axes[:, 1]))
    return (pt * away.min(1)).sum() / (pt.sum() * RADIUS)


def d2(pt, eta, phi):
    """Larkoski, Moult, Neill, arXiv:1409.6298: sums over pairs and triples, here as matrices."""
    share = pt / pt.sum()
    away = np.hypot(eta[:, None] - eta, turn(phi[:, None] - phi))
    e2 = share @ away @ share / 2
    e3 = share @ (away * (away * share @ away)) @ share / 6
    return e3 / e2**3


def test_shapes_are_those_of_their_definitions():
    sizes = [4, 5, 12, 40, 100]
    pt, deta, dphi, offsets = jets(sizes)
    found = shapes(pt, deta, dphi, offsets)
    assert tuple(found) == OF_SHAPES
    for jet in range(len(sizes)):
        mine = slice(*offsets[jet : jet + 2])
        one = pt[mine], deta[mine], dphi[mine]
        tau = [subjettiness(*one, count) for count in (1, 2, 3)]
        assert found["tau21"][jet] == pytest.approx(tau[1] / tau[0])
        assert found["tau32"][jet] == pytest.approx(tau[2] / tau[1])
        assert found["d2"][jet] == pytest.approx(d2(*one))


def test_three_constituents_by_hand():
    """Equal momenta on a line at −d, 0 and d: e2 = 4d/9, e3 = 2d³/27, so D2 = (2/27)(9/4)³."""
    pt, d = np.full(3, 10.0), 0.01
    found = shapes(pt, np.zeros(3), np.array([-d, 0, d]), np.array([0, 3]))
    assert found["d2"] == pytest.approx([2 / 27 * (9 / 4) ** 3], rel=1e-3)
    # Two axes: one constituent, and the middle of the other two, half a d from both.
    assert found["tau21"] == pytest.approx([1 / 2], rel=1e-3)
    assert found["tau32"].tolist() == [0]


def test_prongs_have_the_shapes_they_are_known_for():
    """Of two narrow prongs τ21 and D2 are small; of three, τ32 is and τ21 is not."""
    rng = np.random.default_rng(1)

    def pronged(count):
        centres = 0.4 * np.stack(
            [
                np.cos(2 * np.pi * np.arange(count) / count),
                np.sin(2 * np.pi * np.arange(count) / count),
            ]
        )
        where = np.repeat(centres, 10, axis=1) + rng.normal(0, 0.01, (2, 10 * count))
        return shapes(np.full(10 * count, 5.0), *where, np.array([0, 10 * count]))

    two, three = pronged(2), pronged(3)
    assert two["tau21"][0] < 0.1
    assert three["tau21"][0] > 0.3
    assert three["tau32"][0] < 0.1
    assert two["d2"][0] < 0.3
    assert three["d2"][0] > 0.3


def test_turning_a_jet_and_the_unit_of_pt_change_nothing():
    pt, deta, dphi, offsets = jets([30, 20])
    one = shapes(pt, deta, dphi, offsets)
    other = shapes(pt / 1000, deta + 0.7, dphi + 3.0, offsets)
    for name in OF_SHAPES:
        assert other[name] == pytest.approx(one[name])


def test_the_order_of_constituents_does_not_matter():
    pt, deta, dphi, offsets = jets([30])
    order = np.random.default_rng(2).permutation(30)
    one = shapes(pt, deta, dphi, offsets)
    other = shapes(pt[order], deta[order], dphi[order], offsets)
    for name in OF_SHAPES:
        assert other[name] == pytest.approx(one[name])


def test_of_one_constituent_nothing_is_known():
    found = shapes(np.ones(1), np.zeros(1), np.zeros(1), np.array([0, 1]))
    assert np.isnan([found[name][0] for name in OF_SHAPES]).all()


def test_a_jet_takes_a_few_milliseconds_at_most():
    """In units of a kt clustering from Python, which takes about one for 128 constituents."""
    pt, deta, dphi, offsets = jets([128] * 20)

    def seconds(call):
        began = time.process_time()
        call()
        return time.process_time() - began

    def clustered():
        for jet in range(20):
            mine = slice(*offsets[jet : jet + 2])
            subjettiness(pt[mine], deta[mine], dphi[mine], 2)

    ours = min(seconds(lambda: shapes(pt, deta, dphi, offsets)) for _ in range(3))
    assert ours < 20 * min(seconds(clustered) for _ in range(3))


@pytest.mark.parametrize(
    ("pt", "offsets", "message"),
    [
        ([1.0], [0, 1, 1], "jet 1 has no constituent"),
        ([1.0, 0.0], [0, 2], "pt: row 1 holds 0.0; expected GeV above zero"),
        ([np.nan], [0, 1], "pt: row 0 holds nan"),
    ],
)
def test_what_has_no_shape_is_refused(pt, offsets, message):
    pt = np.array(pt)
    with pytest.raises(ValueError, match=message):
        shapes(pt, np.zeros_like(pt), np.zeros_like(pt), np.array(offsets))
