"""No forward or backward pass waits for its device: what it would wait for is known on the CPU."""

import pytest

torch = pytest.importorskip("torch")

from every_objective import CASES
from synchronisations import counted

CPU = torch.device("cpu")
WARM = 6  # steps, after which normalisers are frozen and flags were read; the next moves no code

# What is as large as values say, and why; how often is not held.
WAITS = {
    "polarbert": "how many pulses are hidden is drawn pulse by pulse",
    "omnilearned: contrastive": "processes tell each other how many events they have",
    "eggnet": "a graph is as large as its points are near",
    "exatrkx": "a graph is as large as its points are near",
    "graphsage": "a graph is as large as its points are near",
}


def waits(name):
    """What a step of an objective waits for, by the line that does."""
    case = CASES[name]
    system = case.system()
    system.module.train()
    for number in range(WARM + 1):
        batch = case.batch(number).to(CPU)
        with counted() as found:
            output = system.module(batch)
            total, _ = system.objective(output, batch)
            total.backward()
    return dict(found)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith(tuple(WAITS))])
def test_a_step_waits_for_nothing(name):
    assert waits(name) == {}


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(tuple(WAITS))])
def test_what_waits_is_named(name):
    assert waits(name)


def test_a_batch_that_was_moved_knows_its_lengths_and_labels():
    batch = CASES["deepsets: classes"].batch(0)
    moved = batch.to(CPU)
    with counted() as found:
        assert moved.lengths.longest == 16
        assert moved.range_of("label") == (0, 1)
        moved.padded(moved.points)
    assert found == {}
    with counted() as found:
        assert batch.range_of("label") == (0, 1)
    assert found


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: bool((x > 0).any()),
        lambda x: x[x > 0],
        lambda x: x.long().unique(),
        lambda x: torch.arange(3).repeat_interleave(x.long()),
        lambda x: x.nonzero(),
    ],
)
def test_each_way_of_waiting_is_counted(operation):
    with counted() as found:
        operation(torch.tensor([1.0, 2.0, 0.0]))
    assert sum(found.values()) == 1
