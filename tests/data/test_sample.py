import numpy as np
import pytest

from pipeline.data.errors import BadInput
from pipeline.data.particles import is_noise, pid_class
from pipeline.data.simulation.sample import make


def test_the_same_seed_gives_the_same_events(sample):
    again = make(20, seed=5, source="sample")
    np.testing.assert_array_equal(again.events.points, sample.events.points)
    np.testing.assert_array_equal(
        again.events.per_point["track_id"], sample.events.per_point["track_id"]
    )


def test_another_seed_gives_other_events(sample):
    assert len(make(20, seed=6, source="sample").events.points) != len(sample.events.points)


def test_every_event_has_points_inside_the_chamber(sample):
    events = sample.events
    assert len(events) == 20
    assert events.sizes.min() >= 1
    r = np.hypot(events.column("x"), events.column("y"))
    assert r.min() > 31.371
    assert r.max() < 75.385
    assert np.abs(events.column("z")).max() <= 105


def test_events_resemble_the_published_ones():
    events = make(200, seed=9, source="sample").events
    assert 500 < events.sizes.mean() < 900
    assert 220 < events.column("energy").mean() < 290
    assert 220 < events.column("energy").std() < 320


def test_labels_belong_to_the_particle_that_made_the_point(sample):
    labels, particles = sample.events.per_point, sample.particles
    np.testing.assert_array_equal(particles.event[sample.particle], sample.events.event)
    ids = particles.track_id[sample.particle]
    np.testing.assert_array_equal(labels["track_id"], np.where(labels["noise"], 0, ids))
    assert {name: values.dtype.name for name, values in labels.items()} == {
        "track_id": "int32",
        "pid": "int8",
        "noise": "bool",
        "pt_gev": "float32",
    }


def test_ids_are_unique_in_an_event(sample):
    pairs = np.stack([sample.particles.event, sample.particles.track_id])
    assert np.unique(pairs, axis=1).shape == pairs.shape


def test_classes_follow_pdg_codes():
    codes = np.array([211, -211, 321, -2212, 11, -13, 3112, 0])
    assert pid_class(codes).tolist() == [1, 1, 2, 3, 4, 0, 0, 0]


def test_classes_are_not_classed_a_second_time():
    with pytest.raises(BadInput, match=r"pid: \[0, 1, 3\] are classes already"):
        pid_class(pid_class(np.array([211, 2212, 99])))


def test_noise_is_unmatched_or_a_soft_secondary():
    track_id, pt_gev = np.array([0, -1, -1, 1]), np.array([5.0, 0.059, 0.061, 0.01])
    assert is_noise(track_id, pt_gev).tolist() == [True, True, False, False]
