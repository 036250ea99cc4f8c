"""Random states: a process goes on where it was; new processes draw what no other does."""

import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pipeline.training.engine.random_states import of_rank, restore, states


def drawn():
    """A number from each generator."""
    return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002


def test_a_process_goes_on_and_those_beyond_begin_their_own(tmp_path):
    torch.manual_seed(2)
    random.seed(2)
    np.random.seed(2)  # noqa: NPY002
    torch.save(states(), tmp_path / of_rank(0))
    expected = drawn()
    found = []
    for rank in (0, 1, 2, 1):
        restore(tmp_path, rank)
        found.append(drawn())
    assert found[0] == expected
    assert found[1] == found[3]
    assert len({number for numbers in found[:3] for number in numbers}) == 9
