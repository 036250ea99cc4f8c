import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from pipeline.evaluation.contingency import adjusted_rand_index, contingency, pooled_rand_index

labels = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60)


def table(events):
    event = np.concatenate([np.full(len(each), place) for place, each in enumerate(events)])
    pairs = np.array([pair for each in events for pair in each]).reshape(-1, 2)
    return contingency(event.astype(np.int64), pairs[:, 0], pairs[:, 1], events=len(events))


@given(st.lists(labels, min_size=1, max_size=4))
def test_the_index_of_each_event_is_that_of_scikit_learn(events):
    expected = [adjusted_rand_score(*np.array(each).T) for each in events]
    assert adjusted_rand_index(table(events)) == pytest.approx(expected, abs=1e-12)


@given(st.lists(labels, min_size=1, max_size=4))
def test_the_pooled_index_is_that_of_scikit_learn_with_ids_made_unique(events):
    unique = [(10 * place + t, 10 * place + p) for place, e in enumerate(events) for t, p in e]
    expected = adjusted_rand_score(*np.array(unique).T)
    assert pooled_rand_index(table(events)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ([(1, 9), (1, 9), (2, 4)], 1.0),
        ([(1, 5), (1, 5)], 1.0),
        ([(1, 5)], 1.0),
        ([(1, 5), (2, 6), (3, 7)], 1.0),
        ([(1, 1), (1, 2), (1, 3)], 0.0),
        ([(1, 1), (2, 1), (3, 1)], 0.0),
        ([(1, 1), (1, 2), (2, 1), (2, 2)], -0.5),
    ],
)
def test_degenerate_groupings_have_the_values_of_the_literature(event, expected):
    assert adjusted_rand_index(table([event])) == pytest.approx([expected])


def test_events_between_others_may_be_empty():
    none = np.array([0, 0, 2, 2])
    ids = np.array([1, 2, 1, 1])
    assert adjusted_rand_index(contingency(none, ids, ids, events=4)) == pytest.approx([1] * 4)


def test_pooled_and_per_event_differ():
    perfect = [(track, track) for track in (1, 2, 3, 4) for _ in range(10)]
    poor = [(track, 1) for track in (1, 2)]
    both = table([perfect, poor])
    assert adjusted_rand_index(both).mean() == pytest.approx(0.5)
    assert pooled_rand_index(both) > 0.99


def test_ids_beyond_2_to_the_53_stay_apart():
    big = 2**53
    ids = np.array([big, big, big + 1, big + 1])
    assert len(contingency(np.zeros(4, int), ids, ids, events=1).particles.id) == 2
