import numpy as np
import pytest

from pipeline.data.simulation.helix import circles, crossings
from pipeline.data.particles import Particles

RADII = np.array([35.0, 50.0, 70.0])


def one(momentum, *, charge=1, vertex=(0.0, 0.0, 0.0)):
    return Particles(
        event=np.zeros(1, np.int64),
        track_id=np.ones(1, np.int32),
        pdg=np.full(1, 211 * charge, np.int32),
        charge=np.full(1, charge, np.int32),
        mass=np.full(1, 0.13957),
        momentum=np.array([momentum]),
        vertex=np.array([vertex]),
    )


def crossed(particle, *, half_cm=105.0):
    return crossings(particle, RADII, field_tesla=1.4, outer_cm=78.0, half_cm=half_cm)


def test_a_stiff_track_is_nearly_straight_and_crosses_each_layer_once():
    found = crossed(one((1000.0, 0.0, 500.0)))
    assert found.layer.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.position[:, 0], RADII, rtol=1e-5)
    np.testing.assert_allclose(found.position[:, 2], RADII / 2, rtol=1e-4)
    np.testing.assert_allclose(found.path, np.hypot(1, 0.5), rtol=1e-4)


def test_a_positive_charge_in_a_field_along_z_bends_clockwise():
    assert crossed(one((1.0, 0.0, 0.0), charge=1)).position[-1, 1] < 0
    assert crossed(one((1.0, 0.0, 0.0), charge=-1)).position[-1, 1] > 0


def test_the_radius_follows_the_momentum():
    circle = circles(one((0.3, 0.4, 2.0)), 1.4)
    assert circle.radius[0] == pytest.approx(50 / (0.299792458 * 1.4))


@pytest.mark.parametrize("vertex", [(0.0, 0.0, 3.0), (4.0, -9.0, -20.0), (40.0, 5.0, 0.0)])
def test_crossings_lie_on_the_layer_and_on_the_circle(vertex):
    particle = one((0.25, -0.2, 0.1), vertex=vertex)
    found, circle = crossed(particle), circles(particle, 1.4)
    radius = np.hypot(found.position[:, 0], found.position[:, 1])
    np.testing.assert_allclose(radius, RADII[found.layer], rtol=1e-9)
    across = np.hypot(found.position[:, 0] - circle.x, found.position[:, 1] - circle.y)
    np.testing.assert_allclose(across, circle.radius[0], rtol=1e-9)


def test_a_looper_crosses_out_and_in_within_one_turn():
    # Radius 23.8 cm: reaches 47.6 cm from the beam line, so it meets the first layer alone.
    found = crossed(one((0.1, 0.0, 0.01)))
    assert found.layer.tolist() == [0, 0]
    assert (np.diff(np.sort(found.position[:, 2])) > 0).all()


def test_a_track_that_leaves_does_not_come_back():
    # Radius 59.6 cm: it would return through all layers, had it not been absorbed outside.
    assert crossed(one((0.25, 0.0, 0.0))).layer.tolist() == [0, 1, 2]


def test_what_is_beyond_the_ends_is_not_seen():
    assert crossed(one((1.0, 0.0, 2.0)), half_cm=105.0).layer.tolist() == [0, 1]


def test_a_particle_made_outside_leaves_nothing():
    assert not len(crossed(one((-1.0, 0.0, 0.0), vertex=(90.0, 0.0, 0.0))).layer)


def test_a_particle_made_at_a_layer_does_not_cross_the_layers_inside_it():
    assert crossed(one((5.0, 0.0, 0.0), vertex=(60.0, 0.0, 0.0))).layer.tolist() == [2]
