"""Batch norm over all processes, and its running means over all that a step takes forward."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

from process_threads import Threads

from pipeline.nn.collectives import Collectives, computing_again, conclude, connect, counting
from pipeline.nn.norms import BatchNorm

ROWS = 2 * torch.randn(12, 3, generator=torch.Generator().manual_seed(1)) + 1
WEIGHTS = torch.randn(12, 3, generator=torch.Generator().manual_seed(2))


def made(collectives=None):
    norm = BatchNorm(3).train()
    with torch.no_grad():
        norm.weight += torch.tensor([0.1, 0.2, 0.3])
    if collectives is not None:
        connect(norm, collectives)
    return norm


def passed(norm, rows, weights):
    """What a norm makes of rows, and the gradients of rows, weight and bias of a weighted sum."""
    x = rows.clone().requires_grad_()
    y = norm(x)
    (y.square() * weights).sum().backward()
    return y.detach(), x.grad, norm.weight.grad, norm.bias.grad


def of_threads(parts):
    """What each of several processes makes of its part of the rows, and their norms."""
    threads = Threads(len(parts))
    norms = [made(threads.collectives(rank)) for rank in range(len(parts))]
    with ThreadPoolExecutor(len(parts)) as pool:
        found = list(pool.map(lambda n, at: passed(n, ROWS[at], WEIGHTS[at]), norms, parts))
        list(pool.map(conclude, norms))
    return found, norms


@pytest.mark.parametrize("cuts", [(0, 5, 12), (0, 1, 4, 12)])
def test_processes_norm_by_the_rows_of_all_and_learn_as_one(cuts):
    y, of_x, of_weight, of_bias = passed(whole := made(), ROWS, WEIGHTS)
    found, norms = of_threads([slice(*at) for at in pairwise(cuts)])
    torch.testing.assert_close(torch.cat([each[0] for each in found]), y)
    torch.testing.assert_close(torch.cat([each[1] for each in found]), of_x)
    torch.testing.assert_close(sum(each[2] for each in found), of_weight)
    torch.testing.assert_close(sum(each[3] for each in found), of_bias)
    for norm in norms:
        torch.testing.assert_close(norm.running_mean, whole.running_mean)
        torch.testing.assert_close(norm.running_variance, whole.running_variance)


def test_one_row_of_all_processes_is_normed_by_the_running_means():
    threads = Threads(2)
    norms = [made(threads.collectives(rank)) for rank in range(2)]
    expected = made().eval()(ROWS[:1])
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda norm, at: norm(ROWS[at]), norms, (slice(0, 1), slice(1, 1))))
        list(pool.map(conclude, norms))
    torch.testing.assert_close(found[0], expected)
    assert norms[0].running_mean.tolist() == [0, 0, 0]


def test_running_means_are_of_a_whole_step_in_any_micro_batches_and_of_nothing_twice():
    whole, parts = made(), made(Collectives())
    whole(ROWS)
    for rows in (ROWS[:5], ROWS[5:]):
        parts(rows)
        with computing_again(parts):
            parts(rows)
    with counting(parts, counts=False):
        parts(ROWS[:3])
    assert parts.running_mean.tolist() == [0, 0, 0], "not before the end of the step"
    conclude(parts)
    torch.testing.assert_close(parts.running_mean, whole.running_mean)
    torch.testing.assert_close(parts.running_variance, whole.running_variance)
    before = parts.running_mean.clone()
    conclude(parts)
    assert torch.equal(parts.running_mean, before)
