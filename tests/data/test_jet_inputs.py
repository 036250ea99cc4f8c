import numpy as np
import pytest

from pipeline.data.experiments.jetclass import COLUMN_NAMES
from pipeline.data.jet_inputs import ARRAYS, columns_of, made_of
from pipeline.families.jet_columns import CHOICES, MOMENTUM, OFFSETS

# Two jets: of one particle, and of two. Columns as in the store.
POINTS = np.array(
    [
        # px, py, pz, energy, deta, dphi, d0val, d0err, dzval, dzerr
        [3, 4, 0, 10, 0.3, -0.4, 0.5, 0.2, -0.25, 3],
        [0, 100, 7, 200, 0, 0, 0, 0, 0, 0],
        [6, 8, 1, 20, 0.6, 0.8, -90, 0.01, 1e-3, 0.02],
    ],
    np.float32,
)
SIZES = np.array([0, 1, 3])
CHARGE = np.array([1, 0, -1], np.int8)
KINDS = np.eye(5, dtype=np.bool_)[[0, 2, 4]]
STORES = {"jetclass": COLUMN_NAMES, "omnilearned": OFFSETS, "jet-tokens": OFFSETS[2::-1]}


def stored(points=POINTS):
    columns = dict(zip(COLUMN_NAMES, points.T, strict=True))
    return columns | {"charge": CHARGE, "species": KINDS}


def found(choice, points=POINTS):
    return columns_of(CHOICES[choice], stored(points), SIZES)


def test_the_full_inputs_are_as_worked_out_by_hand():
    first = [
        (1.6094379 - 1.7) * 0.7,  # ln 5
        (2.3025851 - 2.0) * 0.7,  # ln 10
        (0 + 4.7) * 0.7,  # alone in its jet: ln 1
        (0 + 4.7) * 0.7,
        (0.5 - 0.2) * 4,
        *(1, 1, 0, 0, 0, 0),
        *(0.46211716, 0.2, -0.24491866, 1.0),  # tanh 0.5, tanh -0.25; 3 is clipped to 1
        *(0.3, -0.4),
    ]
    third = [
        (2.3025851 - 1.7) * 0.7,  # ln 10
        (2.9957323 - 2.0) * 0.7,  # ln 20
        (-2.3810873 + 4.7) * 0.7,  # ln 10 / |(6, 108)|
        (-2.3978953 + 4.7) * 0.7,  # ln 20 / 220
        (1.0 - 0.2) * 4,
        *(-1, 0, 0, 0, 0, 1),
        *(-1, 0.01, 1e-3, 0.02),
        *(0.6, 0.8),
    ]
    values = found("full")
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[0], first, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values[2], third, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("choice", "count"), [("full", 17), ("kinpid", 13), ("kin", 7)])
def test_smaller_choices_are_columns_of_the_full_one(choice, count):
    assert len(CHOICES[choice]) == count
    columns = [CHOICES["full"].index(name) for name in CHOICES[choice]]
    assert columns == sorted(columns)
    np.testing.assert_array_equal(found(choice), found("full")[:, columns])


def test_extreme_particles_are_clipped_and_finite():
    points = POINTS.copy()
    points[1, :4] = 0
    points[2, 4] = 9
    values = found("full", points)
    assert values[1, :4].tolist() == [-5, -5, -5, -5]
    assert values[2, 4] == 5


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("wanted", [MOMENTUM, OFFSETS, CHOICES["kin"]])
def test_every_store_of_jets_gives_the_same_columns(store, wanted):
    """Massless particles along the beam's x axis, whose offsets are their coordinates."""
    deta, dphi = np.array([0.1, -0.2, 0.3]), np.array([0.2, 0.1, -0.4])
    pt = np.array([5.0, 50.0, 9.0])
    energy = pt * np.cosh(deta)
    momentum = (pt * np.cos(dphi), pt * np.sin(dphi), pt * np.sinh(deta), energy)
    offsets = (deta, dphi, np.log(pt), np.log(energy))
    whole = dict(zip((*MOMENTUM, *OFFSETS), (*momentum, *offsets), strict=True))
    there = {name: whole[name] for name in STORES[store] if name in whole}
    expected = columns_of(wanted, whole, SIZES)
    np.testing.assert_allclose(columns_of(wanted, there, SIZES), expected, rtol=1e-5, atol=1e-6)


def test_what_a_store_cannot_give_is_known_before_it_is_read():
    assert made_of("log_pt", COLUMN_NAMES) == {"px", "py"}
    assert made_of("energy", ("log_pt", "deta", "dphi")) == {"log_pt", "deta"}
    assert made_of("isMuon", (*COLUMN_NAMES, *ARRAYS)) == {"species"}
    assert made_of("isMuon", OFFSETS) is None
    assert made_of("pt", ("deta", "dphi")) is None
    with pytest.raises(KeyError, match="d0"):
        columns_of(("d0",), {"log_pt": np.ones(3)}, SIZES)


def test_shares_are_of_the_jet_of_the_file_where_a_store_has_it():
    jet = np.array([[10, 0, 0, 16], [200, 0, 0, 400]], np.float32)  # pT, η, φ, energy
    values = columns_of(("logptrel", "logerel"), stored() | {"jet": jet}, SIZES)
    expected = np.log([[5 / 10, 10 / 16], [100 / 200, 200 / 400], [10 / 200, 20 / 400]])
    np.testing.assert_allclose(values, (expected + 4.7) * 0.7, rtol=1e-5)
    assert made_of("logerel", (*COLUMN_NAMES, *ARRAYS, "jet")) == {"energy", "jet"}
    assert made_of("logerel", (*COLUMN_NAMES, *ARRAYS)) == {"energy"}
