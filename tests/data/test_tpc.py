import numpy as np
from test_helix import one

from pipeline.data.simulation.tpc import LAYERS_CM, detect, energy_loss


def test_there_are_48_layers_in_three_groups():
    assert len(LAYERS_CM) == 48
    assert np.histogram(LAYERS_CM, [31.371997, 40, 57, 75.38493])[0].tolist() == [16, 16, 16]


def test_slow_particles_ionise_more_and_fast_ones_reach_a_plateau():
    slow, minimum, fast, faster = energy_loss(np.array([0.5, 3.5, 1e3, 1e5]))
    assert slow > 3
    assert minimum == 1
    assert 1.3 < fast < 1.7
    assert abs(faster / fast - 1) < 0.1


def test_a_stiff_track_leaves_a_cluster_in_nearly_every_layer():
    clusters = detect(one((5.0, 0.0, 1.0)), np.random.default_rng(1))
    own = clusters.layer[clusters.particle == 0]
    assert 42 <= len(own) == len(np.unique(own)) <= 48


def test_clusters_are_what_the_readout_can_say():
    clusters = detect(one((5.0, 0.0, 1.0)), np.random.default_rng(2))
    assert (clusters.charge_adc == np.round(clusters.charge_adc)).all()
    assert clusters.charge_adc.min() >= 10
    assert clusters.charge_adc.max() <= 4000


def test_delta_electrons_are_secondaries_with_ids_of_their_own():
    clusters = detect(one((5.0, 0.0, 1.0)), np.random.default_rng(3))
    deltas = clusters.particles.take(clusters.particles.track_id < 0)
    assert len(deltas) > 10
    assert len(np.unique(deltas.track_id)) == len(deltas)
    assert set(deltas.pdg.tolist()) == {11}
    assert deltas.pt_gev.max() < 0.002
