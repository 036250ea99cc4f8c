import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_pulses import pulses, same

from pipeline.data.events import concatenate
from pipeline.data.preparation.directions import angles, unit_vectors
from pipeline.data.preparation.pulses import _first, in_time_order, polarbert_inputs, select_pulses
from pipeline.evaluation.directions import opening_angles

CASES = {
    "sizes": st.lists(st.integers(0, 60), min_size=1, max_size=8),
    "most": st.integers(1, 40),
    "auxiliary": st.floats(0, 1),
    "seed": st.integers(0, 1000),
}


def numbered(events):
    """Return the events with a column `row` that says which pulse of all each is."""
    events.per_point["row"] = np.arange(len(events.points))
    return events


@settings(deadline=None, max_examples=25)
@given(**CASES)
def test_the_selection_is_polarberts(sizes, most, auxiliary, seed):
    events = numbered(pulses(sizes, seed=seed, auxiliary=auxiliary))
    found, rejected = select_pulses(events, most)
    assert rejected == {"shortened": int(np.sum(np.array(sizes) > most))}
    np.testing.assert_array_equal(found.sizes, np.minimum(sizes, most))
    assert np.all(np.diff(found.per_point["row"]) > 0)
    np.testing.assert_array_equal(found.per_event["azimuth"], events.per_event["azimuth"])
    for event in range(len(sizes)):
        before, after = (each.slice(event, event + 1) for each in (events, found))
        good = before.per_point["row"][~before.per_point["auxiliary"]]
        kept = after.per_point["row"][~after.per_point["auxiliary"]]
        assert set(kept) <= set(good)
        assert len(kept) == min(len(good), most)


@settings(deadline=None, max_examples=25)
@given(**CASES, cut=st.integers(0, 8))
def test_the_selection_does_not_depend_on_what_is_read_along(sizes, most, auxiliary, seed, cut):
    events = pulses(sizes, seed=seed, auxiliary=auxiliary)
    whole, _ = select_pulses(events, most)
    cut = min(cut, len(events))
    parts = [events.slice(0, cut), events.slice(cut, len(events))]
    same(concatenate([select_pulses(part, most)[0] for part in parts]), whole)


def test_the_sample_follows_the_sources_id_and_is_even():
    sizes = np.full(2000, 20)
    events = numbered(pulses(sizes, auxiliary=1))
    found, _ = select_pulses(events, 10)
    share = np.bincount(found.per_point["row"] % 20, minlength=20) / 2000
    np.testing.assert_allclose(share, 0.5, atol=0.06)
    events.per_event["source_event_id"] = events.per_event["source_event_id"] + 1
    other, _ = select_pulses(events, 10)
    assert not np.array_equal(other.per_point["row"], found.per_point["row"])


def test_of_pulses_with_the_same_hash_the_earlier_goes_first():
    priority = np.array([9, 4, 9, 9, 2, 2, 2, 2], np.uint64) << np.uint64(32)
    kept = _first(priority, np.array([4, 4]), 2)
    assert kept.tolist() == [True, True, False, False, True, True, False, False]


def test_without_auxiliary_all_pulses_are_equal():
    events = pulses([50, 3])
    del events.per_point["auxiliary"]
    assert select_pulses(events, 10)[0].sizes.tolist() == [10, 3]


def test_pulses_are_sorted_by_time_within_their_events():
    events = numbered(pulses([4, 0, 3]))
    events.points[:, 0] = [3, 1, 2, 1, 7, 7, 5]
    found = in_time_order(events)
    assert found.per_point["row"].tolist() == [1, 3, 2, 0, 6, 4, 5]
    assert in_time_order(found) is found


def test_inputs_are_scaled_as_polarbert_does():
    made = polarbert_inputs(
        np.float32([10_000, 40_000]),
        np.float32([1, 1000]),
        np.array([True, False]),
        np.array([0, 5159], np.uint16),
    )
    assert made.features.tolist() == [[0, 0, 0.5], [1, 1, -0.5]]
    assert made.sensor.tolist() == [1, 5160]
    assert (made.features.dtype, made.sensor.dtype) == (np.float32, np.uint16)


@pytest.mark.parametrize(
    ("azimuth", "zenith", "vector"),
    [
        (0, 0, (0, 0, 1)),
        (0, np.pi, (0, 0, -1)),
        (0, np.pi / 2, (1, 0, 0)),
        (np.pi / 2, np.pi / 2, (0, 1, 0)),
    ],
)
def test_directions_are_where_the_particle_came_from(azimuth, zenith, vector):
    np.testing.assert_allclose(unit_vectors([azimuth], [zenith]), [vector], atol=1e-15)


@settings(deadline=None, max_examples=25)
@given(azimuth=st.floats(0, 6.28), zenith=st.floats(0.01, 3.13))
def test_angles_and_vectors_are_each_others_inverse(azimuth, zenith):
    vectors = unit_vectors([azimuth], [zenith])
    found = angles(2 * vectors)
    np.testing.assert_allclose([each[0] for each in found], [azimuth, zenith], atol=1e-12)
    assert opening_angles(vectors, vectors) < 1e-12


def test_a_whole_turn_is_none():
    azimuth, _ = angles(np.array([[1.0, -1e-30, 0.0]]))
    assert azimuth.tolist() == [0.0]


def test_small_opening_angles_are_exact():
    one, other = unit_vectors([0, 0], [1, 1]), unit_vectors([0, 0], [1 + 1e-9, 1 - np.pi / 2])
    np.testing.assert_allclose(opening_angles(one, other), [1e-9, np.pi / 2], rtol=1e-6)
