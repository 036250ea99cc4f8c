"""Rows of all processes."""

from concurrent.futures import ThreadPoolExecutor

import pytest

torch = pytest.importorskip("torch")

from process_threads import Threads

from pipeline.nn.collectives import Collectives, gathered

ROWS = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
PARTS = (slice(0, 2), slice(2, 2), slice(2, 6))  # the second process has none


def test_rows_of_all_processes_are_those_of_one():
    assert torch.equal(gathered(ROWS, Collectives())[0], ROWS)
    threads = Threads(len(PARTS))
    with ThreadPoolExecutor(len(PARTS)) as pool:
        of_each = [threads.collectives(rank) for rank in range(len(PARTS))]
        found = list(pool.map(gathered, [ROWS[part] for part in PARTS], of_each))
    assert [first for _, first in found] == [0, 2, 2]
    assert all(torch.equal(rows, ROWS) for rows, _ in found)
