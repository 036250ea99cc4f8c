"""Ids of events: from their file's content and their place there, or from their own numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_events import events

from pipeline.data.errors import BadInput
from pipeline.data.identity import (
    Identity,
    base_of,
    ids_from,
    meeting,
    numbers_from,
    widest,
)

contents = st.integers(0, 2**256 - 1).map("{:064x}".format)
GOLDEN = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of no bytes


def numbered(values, name="run"):
    made = events([3] * len(values))
    made.per_event[name] = np.array(values)
    return made


def test_ids_do_not_change():
    """Stores, splits and subsets hang on these numbers."""
    assert base_of(GOLDEN) == 0xE3B0C44298FC1C14 >> 1
    of_file = Identity("file", "sphenix", GOLDEN)
    assert of_file.ids(events([1, 2])).tolist() == [8203414616412130826, 8203414616412130827]
    by_number = Identity("number", "sphenix")
    assert by_number.ids(numbered([5, 7], "number")).tolist() == [
        52872671538297315,
        52872671538297317,
    ]
    assert by_number.ids(numbered([[1, 5], [2, 5]], "number")).tolist() == [
        1963897420558244450,
        762021410504366130,
    ]


@given(content=contents, numbers=st.lists(st.integers(0, 2**40), min_size=1, unique=True))
def test_an_id_leads_back_to_the_place_in_the_file(content, numbers):
    base, places = base_of(content), np.array(numbers)
    ids = ids_from(base, places)
    assert ids.min() >= 0
    assert len(set(ids.tolist())) == len(numbers)
    np.testing.assert_array_equal(numbers_from(base, ids), places)


@given(content=contents, start=st.integers(0, 2**20))
def test_the_ids_of_a_file_follow_each_other(content, start):
    base = base_of(content)
    ids = ids_from(base, np.arange(start, start + 5)).tolist()
    assert [(each - ids[0]) % 2**63 for each in ids] == [0, 1, 2, 3, 4]
    assert (ids[0] - base) % 2**63 == start


@given(values=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, unique=True))
def test_numbers_of_an_experiment_are_ids_whatever_file_holds_them(values):
    one = Identity("run", "belle", "00" * 32).ids(numbered(values))
    other = Identity("run", "belle", "ff" * 32).ids(numbered(values))
    assert one.tolist() == other.tolist()
    assert one.min() >= 0
    assert len(set(one.tolist())) >= len({each % 2**63 for each in values})


def test_two_experiments_or_arrays_give_other_ids():
    several = [Identity("run", "belle"), Identity("run", "belle2"), Identity("event", "belle")]
    ids = [each.ids(numbered([1, 2], each.key)).tolist() for each in several]
    assert len({each for pair in ids for each in pair}) == 6


def test_several_numbers_make_one_id_each_and_their_order_counts():
    pairs = [[run, event] for run in range(40) for event in range(100, 150)]
    ids = Identity("run", "belle").ids(numbered(pairs))
    assert len(set(ids.tolist())) == len(pairs)
    turned = Identity("run", "belle").ids(numbered([[b, a] for a, b in pairs]))
    assert len(set(ids.tolist()) & set(turned.tolist())) == 0
    assert Identity("run", "belle").range(numbered(pairs)) == (100, 149)


def test_the_range_of_numbers():
    assert Identity("run", "belle").range(numbered([7, -3, 5])) == (-3, 7)
    assert Identity("run", "belle").range(events([])) is None
    assert Identity("file", "belle", GOLDEN).range(numbered([7])) is None
    assert widest([(3, 7), None, (1, 4)]) == (1, 7)
    assert widest([None]) is None


def test_an_array_that_is_not_there_names_those_that_are():
    with pytest.raises(BadInput) as told:
        Identity("event_no", "belle").ids(numbered([1, 2]))
    message = "event_key 'event_no' is not there; expected whole numbers of each event, one of run."
    assert str(told.value).startswith(f"made.npz: {message}")
    assert 'Or write event_key = "file".' in str(told.value)


def test_an_array_of_fractions_is_refused():
    with pytest.raises(BadInput, match=r"event_key 'run' is float64 \(2,\); expected whole"):
        Identity("run", "belle").ids(numbered([0.5, 1.5]))


@given(
    bases=st.lists(st.integers(0, 400), min_size=1, max_size=9),
    counts=st.lists(st.integers(1, 60), min_size=9, max_size=9),
    shift=st.integers(0, 2**63 - 1),
)
def test_files_whose_ids_meet_are_found_if_and_only_if_they_do(bases, counts, shift):
    places = [(base + shift) % 2**63 for base in bases]
    sets = [
        {(base + n) % 2**63 for n in range(count)}
        for base, count in zip(places, counts, strict=False)
    ]
    truly = any(sets[i] & sets[j] for i in range(len(sets)) for j in range(i))
    found = meeting(places, counts[: len(places)])
    assert (found is not None) == truly
    if found is not None:
        assert sets[found[0]] & sets[found[1]]


def test_chance_meetings_are_as_rare_as_said():
    """With 30 bits in place of 63, so that they happen: F² N / 2^bits, here 0.34."""
    rng = np.random.default_rng(0)
    files, count, bits, sets = 60, 100_000, 30, 400
    shrink = 2 ** (63 - bits)
    met = sum(
        meeting(
            [int(b) * shrink for b in rng.integers(0, 2**bits, files)], [count * shrink] * files
        )
        is not None
        for _ in range(sets)
    )
    expected = 1 - np.exp(-(files**2) * count / 2**bits)
    assert met / sets == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / sets))
