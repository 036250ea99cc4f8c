import numpy as np
import pytest

from pipeline.data.jet_inputs import CHOICES, inputs

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
OFFSETS = np.array([0, 1, 3])
JET = np.array([[500, 0.1, 0.2, 1000], [800, -1, 3, 2000]], np.float32)
CHARGE = np.array([1, 0, -1], np.int8)
SPECIES = np.eye(5, dtype=np.bool_)[[0, 2, 4]]


def found(choice):
    return inputs(POINTS, OFFSETS, charge=CHARGE, species=SPECIES, jet=JET, choice=choice)


def test_the_full_inputs_are_as_worked_out_by_hand():
    first = [
        (1.6094379 - 1.7) * 0.7,  # ln 5
        (2.3025851 - 2.0) * 0.7,  # ln 10
        (-4.6051702 + 4.7) * 0.7,  # ln 5/500
        (-4.6051702 + 4.7) * 0.7,  # ln 10/1000
        (0.5 - 0.2) * 4,
        *(1, 1, 0, 0, 0, 0),
        *(0.46211716, 0.2, -0.24491866, 1.0),  # tanh 0.5, tanh -0.25; 3 is clipped to 1
        *(0.3, -0.4),
    ]
    third = [
        (2.3025851 - 1.7) * 0.7,  # ln 10
        (2.9957323 - 2.0) * 0.7,  # ln 20
        (-4.3820266 + 4.7) * 0.7,  # ln 10/800
        (-4.6051702 + 4.7) * 0.7,  # ln 20/2000
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
    points[0, :4] = 0
    points[1, 4] = 9
    values = inputs(points, OFFSETS, charge=CHARGE, species=SPECIES, jet=JET)
    assert values[0, :4].tolist() == [-5, -5, -5, -5]
    assert values[1, 4] == 5
