"""The order of events in memory: each once a pass, none twice in a batch, from position alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.loading.order import Passes

SIZES = st.tuples(st.integers(1, 60), st.integers(1, 70), st.integers(0, 20))


def batches(passes, count):
    """The events of the first batches, and their epochs."""
    return [passes.at(np.arange(n * passes.batch, (n + 1) * passes.batch)) for n in range(count)]


@given(SIZES)
def test_each_pass_has_each_event_once(sizes):
    passes = Passes(*sizes)
    for number in range(8):
        assert sorted(passes.epoch(number)) == list(range(passes.events))


@given(SIZES)
def test_no_batch_has_an_event_twice_but_one_that_is_larger_than_all_together(sizes):
    passes = Passes(*sizes)
    most = 1 if passes.events >= passes.batch else -(-passes.batch // passes.events) + 1
    for events, epochs in batches(passes, 3 + 8 * passes.events // passes.batch):
        assert np.bincount(events).max() <= most
        assert (np.diff(epochs) >= 0).all()


@given(SIZES, st.integers(0, 500))
def test_a_position_alone_decides_its_event(sizes, position):
    passes = Passes(*sizes)
    events, epochs = passes.at(np.arange(600))
    event, epoch = Passes(*sizes).at(np.array([position]))
    assert (event[0], epoch[0]) == (events[position], epochs[position])


def test_passes_and_seeds_differ_and_batches_are_random_samples():
    first, other = Passes(1000, 64, 1), Passes(1000, 64, 2)
    assert (first.epoch(0) != first.epoch(1)).any()
    assert (first.epoch(1) != other.epoch(1)).any()
    places = np.concatenate([events for events, _ in batches(first, 1500)])
    assert abs(np.corrcoef(places[:-1], places[1:])[0, 1]) < 0.02
    assert np.bincount(places).tolist() == [96] * 1000


def test_only_the_start_of_a_pass_yields_to_the_batch_before_it():
    passes = Passes(1000, 64, 1)
    drawn = np.random.default_rng((1, 1)).permutation(1000)
    assert passes.begun(1) == 40
    assert (passes.epoch(1)[64:] == drawn[64:]).all()
    assert not set(passes.epoch(1)[:24]) & set(passes.epoch(0)[-40:])
