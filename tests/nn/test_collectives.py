"""Rows of all processes, and their gradients."""

from concurrent.futures import ThreadPoolExecutor

import pytest

torch = pytest.importorskip("torch")

from process_threads import Threads

from pipeline.nn.collectives import Collectives, gathered

ROWS = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
PARTS = (slice(0, 3), slice(3, 3), slice(3, 6))  # of the second process no row counts


def products(rows, collectives):
    """A row's products with all rows, squared and summed, and the gradient of the row."""
    own = rows.clone().requires_grad_()
    every, first = gathered(own, collectives)
    (own @ every.T).square().sum().backward()
    return every.detach(), first, own.grad


def test_rows_and_gradients_are_those_of_one_process():
    every, first, gradient = products(ROWS, Collectives())
    assert torch.equal(every, ROWS)
    assert first == 0
    threads = Threads(len(PARTS))
    with ThreadPoolExecutor(len(PARTS)) as pool:
        of_each = [threads.collectives(rank) for rank in range(len(PARTS))]
        found = list(pool.map(products, [ROWS[part] for part in PARTS], of_each))
    assert [each[1] for each in found] == [0, 3, 3]
    for (rows, _, own), part in zip(found, PARTS, strict=True):
        assert torch.equal(rows, ROWS)
        torch.testing.assert_close(own, gradient[part])
