"""Copies of the rows of events: those of numpy and of compiled code are the same."""

import subprocess
import sys

import numpy as np
import pytest

from pipeline.data.events import Events, offsets_of
from pipeline.data.loading import rows
from pipeline.data.loading.rows import SKIPPED, scatter, take


@pytest.fixture(params=["numpy", "compiled"])
def copied(request, monkeypatch):
    """Both ways of copying."""
    monkeypatch.setattr(rows, "MUCH", 0 if request.param == "compiled" else 1 << 60)


def events(sizes, seed=0):
    rng = np.random.default_rng(seed)
    count = int(np.sum(sizes))
    return Events(
        source="made",
        columns=("x", "y"),
        points=rng.random((count, 2), dtype=np.float32),
        offsets=offsets_of(np.asarray(sizes)),
        event_id=np.arange(len(sizes)),
        per_point={"flag": rng.random(count) < 0.5, "near": rng.integers(0, 9, (count, 3))},
        per_event={"label": rng.integers(0, 2, len(sizes))},
    )


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("sizes", [[3, 1, 7, 2], [900, 4, 300], [1]], ids=str)
def test_events_are_taken_in_any_order(sizes):
    made, order = events(sizes), np.random.default_rng(1).permutation(len(sizes))
    found = take(made, order)
    assert found.event_id.tolist() == order.tolist()
    for place, event in enumerate(order):
        here = slice(found.offsets[place], found.offsets[place + 1])
        there = slice(made.offsets[event], made.offsets[event + 1])
        np.testing.assert_array_equal(found.points[here], made.points[there])
        for name, values in made.per_point.items():
            np.testing.assert_array_equal(found.per_point[name][here], values[there])
    assert found.points.dtype == np.float32


@pytest.mark.usefixtures("copied")
def test_no_event_is_an_order_too():
    assert len(take(events([3, 2]), np.empty(0, np.int64)).points) == 0


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("sizes", [[3, 1, 7, 2, 5], [900, 4, 300, 20, 1]], ids=str)
@pytest.mark.parametrize("cut", [1, 4, 500])
def test_chunks_are_scattered_to_the_events_that_are_taken(sizes, cut):
    made = events(sizes)
    taken = [4, 0, 2]
    target = np.full(len(sizes), SKIPPED)
    target[taken] = offsets_of(np.asarray(sizes)[taken])[:-1]
    found = np.zeros((sum(sizes[event] for event in taken), 2), np.float32)
    for first in range(0, len(made.points), cut):
        scatter(made.points[first : first + cut], first, made.offsets, target, found)
    expected = [made.points[made.offsets[e] : made.offsets[e + 1]] for e in taken]
    np.testing.assert_array_equal(found, np.concatenate(expected))


def test_a_process_that_copies_little_loads_no_compiler():
    code = (
        "import sys, numpy as np; from pipeline.data.loading.rows import scatter;"
        "x = np.ones((2, 4)); found = np.zeros((2, 4));"
        "scatter(x, 0, np.array([0, 1, 2]), np.array([1, 0]), found);"
        "assert found.all(); print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
