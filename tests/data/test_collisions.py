import numpy as np
import pytest
import pythia8mc

from pipeline.data.simulation.collisions import ELECTRON_GEV, SETTINGS, Generator, convert
from pipeline.data.particles import Particles


def photons(count, momentum):
    return Particles(
        event=np.arange(count) // 4,
        track_id=np.zeros(count, np.int32),
        pdg=np.full(count, 22, np.int32),
        charge=np.zeros(count, np.int32),
        mass=np.zeros(count),
        momentum=np.tile(np.array(momentum), (count, 1)),
        vertex=np.zeros((count, 3)),
    )


def test_collisions_hold_stable_charged_particles_with_positive_ids():
    particles = Generator(1).collide(20)
    made = particles.take(particles.track_id > 0)
    assert set(np.abs(made.pdg).tolist()) <= {11, 13, 211, 321, 2212}
    assert set(np.abs(made.charge).tolist()) == {1}
    assert (np.diff(particles.event) >= 0).all()
    assert 5 < len(made) / 20 < 40


def test_pythia_knows_every_setting():
    pythia = pythia8mc.Pythia("", False)
    assert all(pythia.readString(setting) for setting in SETTINGS)


def test_some_particles_come_from_displaced_decays():
    particles = Generator(2).collide(100)
    made = particles.take(particles.track_id > 0)
    displaced = np.hypot(made.vertex[:, 0], made.vertex[:, 1]) > 0.5
    assert 0.01 < displaced.mean() < 0.2


def test_photons_convert_as_often_as_the_material_says():
    pairs = convert(photons(20_000, (1.0, 0.0, 0.0)), np.random.default_rng(1))
    assert len(pairs) / 2 / 20_000 == pytest.approx(7 / 9 * 0.063, rel=0.1)


def test_a_pair_shares_the_photon_and_starts_in_the_material():
    pairs = convert(photons(4000, (0.3, 0.4, 1.0)), np.random.default_rng(2))
    assert pairs.charge.reshape(-1, 2).sum(axis=1).tolist() == [0] * (len(pairs) // 2)
    np.testing.assert_allclose(
        pairs.momentum.reshape(-1, 2, 3).sum(axis=1), np.tile([0.3, 0.4, 1.0], (len(pairs) // 2, 1))
    )
    assert np.hypot(pairs.vertex[:, 0], pairs.vertex[:, 1]).min() > 2.4
    assert (pairs.track_id < 0).all()
    assert (pairs.mass == ELECTRON_GEV).all()


def test_a_generator_that_keeps_failing_says_so():
    class Failing:
        def next(self):
            return False

    generator = Generator.__new__(Generator)
    generator._pythia = Failing()
    with pytest.raises(RuntimeError, match="Pythia failed 10 times in a row"):
        generator.collide(1)
