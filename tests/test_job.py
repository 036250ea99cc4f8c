"""Keys of jobs: which link of which chain."""

import pytest

from pipeline.job import is_after, number_of

KEY = "c.pretrain.m-d8-s1.9-a1536ada"


@pytest.mark.parametrize(
    ("earlier", "is_before"),
    [
        ("c.pretrain.m-d8-s1.8-a1536ada", True),
        ("c.pretrain.m-d8-s1.1-a1536ada", True),
        (KEY, False),  # it may have been submitted twice
        ("c.pretrain.m-d8-s1.10-a1536ada", False),
        ("c.pretrain.m-d8-s1.8-ffffffff", False),  # of another run
        ("c.pretrain.m-d16-s1.8-a1536ada", False),
        ("m-d8-s1", False),
        ("", False),
    ],
)
def test_links_of_one_chain_follow_each_other(earlier, is_before):
    assert is_after(KEY, earlier) == is_before


def test_outside_of_a_batch_job_nothing_comes_before():
    assert not is_after("", KEY)
    assert not is_after("", "")


def test_the_number_of_a_key():
    assert (number_of(KEY), number_of("by hand")) == (9, 0)
