import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.readers.matching import Keys, match

rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=20)


def keys(pairs):
    table = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    return Keys(table[:, 0], table[:, 1])


@given(rows, rows)
def test_each_row_finds_the_first_of_its_event_and_id(left, right):
    ours, theirs = keys(left), keys(right)
    wanted = list(zip(theirs.event.tolist(), theirs.id.tolist(), strict=True))
    expected = [
        wanted.index(pair) if pair in wanted else -1
        for pair in zip(ours.event.tolist(), ours.id.tolist(), strict=True)
    ]
    assert match(ours, theirs).tolist() == expected


def test_64_bit_ids_are_not_rounded():
    event = np.zeros(2, np.int64)
    near = np.array([2**63, 2**63 + 1], np.uint64)
    assert match(Keys(event, near[::-1]), Keys(event, near)).tolist() == [1, 0]
