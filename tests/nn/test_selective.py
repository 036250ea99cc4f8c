"""Mamba's scan: the naive recurrence, forward and backward, at any cut of the batch."""

import pytest

torch = pytest.importorskip("torch")

from pipeline.nn.selective import selective_scan

CHANNELS, STATE = 6, 3


def inputs(sizes, *, seed=0):
    made = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=made, dtype=torch.float64)

    points = sum(sizes)
    x, b, c = normal(points, CHANNELS), normal(points, STATE), normal(points, STATE)
    dt = torch.nn.functional.softplus(normal(points, CHANNELS))
    a = -normal(CHANNELS, STATE).exp()
    values = [each.requires_grad_() for each in (x, dt, a, b, c)]
    return values, torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))


def naive(x, dt, a, b, c, event):
    rows, state = [], torch.zeros_like(a)
    for p in range(len(x)):
        if p and event[p] != event[p - 1]:
            state = torch.zeros_like(a)
        state = (a * dt[p][:, None]).exp() * state + (dt[p] * x[p])[:, None] * b[p]
        rows.append(state @ c[p])
    return torch.stack(rows)


@pytest.mark.parametrize("sizes", [[1], [2], [17], [100], [1, 2, 64, 3, 50]], ids=str)
def test_it_is_the_naive_recurrence_forward_and_backward(sizes):
    values, event = inputs(sizes)
    weight = torch.randn(sum(sizes), CHANNELS, dtype=torch.float64)
    results = []
    for function in (selective_scan, naive):
        y = function(*values, event)
        results.append((y, torch.autograd.grad((y * weight).sum(), values)))
    (ours, gradients), (expected, naive_gradients) = results
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)
    for found, wanted in zip(gradients, naive_gradients, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)


def test_an_event_starts_from_nothing():
    values, event = inputs([30, 30])
    x, dt, a, b, c = values
    alone = selective_scan(x[30:], dt[30:], a, b[30:], c[30:], event[30:])
    torch.testing.assert_close(selective_scan(*values, event)[30:], alone)
