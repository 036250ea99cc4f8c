import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.splits import keys, split_of

FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}
GOLDEN_KEYS = [3531997233750407150, 4359552081712849627, 6102067323456516259, 3835462824238070694]
GOLDEN_SPLITS = [0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0]


def test_the_splits_of_events_never_change():
    ids = np.array([0, 1, 2, 3, 4, 5, 6, 7, 1 << 32, (1 << 32) + 1, (5 << 32) + 123])
    assert keys(ids[:4]).tolist() == GOLDEN_KEYS
    assert split_of(ids, FRACTIONS).tolist() == GOLDEN_SPLITS


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=50, unique=True), st.randoms())
def test_an_events_split_depends_on_its_id_alone(ids, random):
    together = dict(zip(ids, split_of(np.array(ids), FRACTIONS).tolist(), strict=True))
    shuffled = random.sample(ids, len(ids))
    again = split_of(np.array(shuffled), FRACTIONS).tolist()
    assert again == [together[each] for each in shuffled]
    alone = [int(split_of(np.array([each]), FRACTIONS)[0]) for each in ids]
    assert alone == list(together.values())


def test_splits_are_disjoint_and_cover_all_events():
    ids = np.arange(10_000)
    chosen = [set(ids[split_of(ids, FRACTIONS) == number].tolist()) for number in range(3)]
    assert sum(map(len, chosen)) == len(set.union(*chosen)) == len(ids)


@pytest.mark.parametrize("file", [0, 1, 2, 999])
def test_fractions_are_met_in_every_file(file):
    count = 40_000
    index = split_of((file << 32) | np.arange(count), FRACTIONS)
    for number, fraction in enumerate(FRACTIONS.values()):
        spread = np.sqrt(count * fraction * (1 - fraction))
        assert abs(np.sum(index == number) - count * fraction) < 4 * spread


def test_one_split_takes_everything():
    assert set(split_of(np.arange(1000), {"all": 1.0}).tolist()) == {0}


def test_fractions_whose_sum_is_rounded_still_name_a_split():
    thirds = {"a": 1 / 3, "b": 1 / 3, "c": 1 - 2 / 3}
    assert set(split_of(np.arange(1000), thirds).tolist()) == {0, 1, 2}


def test_a_larger_first_split_contains_a_smaller_one():
    ids = np.arange(5000)
    small = split_of(ids, {"train": 0.3, "rest": 0.7}) == 0
    large = split_of(ids, {"train": 0.6, "rest": 0.4}) == 0
    assert not (small & ~large).any()


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_keys_are_uniform_in_every_bit_and_never_repeat(seed):
    found = keys(np.arange(20_000), seed)
    assert found.dtype == np.uint64
    assert len(np.unique(found)) == len(found)
    ones = [np.count_nonzero(found & np.uint64(1 << bit)) for bit in range(64)]
    assert np.abs(np.array(ones) - 10_000).max() < 5 * np.sqrt(20_000 / 4)
    sixteenths = np.bincount((found >> np.uint64(60)).astype(int), minlength=16)
    assert np.abs(sixteenths - 1250).max() < 5 * np.sqrt(1250)


def test_seeds_give_independent_keys():
    ids = np.arange(20_000)
    differing = np.bitwise_count(keys(ids, 0) ^ keys(ids, 1))
    assert abs(differing.mean() - 32) < 0.2


def test_near_ids_have_far_keys():
    differing = np.bitwise_count(np.diff(keys(np.arange(20_000))))
    assert abs(differing.mean() - 32) < 0.5
