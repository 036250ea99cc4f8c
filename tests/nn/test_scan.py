"""The scan computes the recurrence it claims, for each event by itself, and nothing like it."""

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pipeline.nn.lengths import Lengths
from pipeline.nn.scan import CHUNK, convolve, row_of, scan

HEADS, CHANNELS, STATE, TAPS = 2, 3, 5, 4
SIZES = [[1], [64], [65], [1000], [1, 64, 65, 1, 200, 63], [64, 64], [10] * 30, [130, 1, 1, 129]]


def inputs(sizes, *, seed=0, dtype=torch.float64):
    """x, dt, a, b, c with gradients, and the lengths of the events."""
    made = torch.Generator().manual_seed(seed)
    points = sum(sizes)

    def random(*shape):
        return torch.randn(*shape, generator=made, dtype=torch.float64)

    values = [
        random(points, HEADS, CHANNELS),
        functional.softplus(random(points, HEADS)),
        -random(HEADS).exp(),
        random(points, STATE),
        random(points, STATE),
    ]
    return [value.to(dtype).requires_grad_() for value in values], lengths_of(sizes)


def lengths_of(sizes):
    return Lengths.of(torch.tensor([0, *sizes]).cumsum(0))


def recurrence(x, dt, a, b, c, lengths):
    """s = exp(a dt) s + dt x ⊗ b, y = s · c, point by point."""
    rows, event = [], lengths.event
    for p in range(len(x)):
        if p == 0 or event[p] != event[p - 1]:
            state = x.new_zeros(HEADS, CHANNELS, STATE)
        decay = (a * dt[p]).exp()[:, None, None]
        state = decay * state + dt[p][:, None, None] * x[p][:, :, None] * b[p]
        rows.append(state @ c[p])
    return torch.stack(rows)


def tap_by_tap(x, weight, bias, place):
    """y_p = bias + Σ_back weight[-1 - back] x_{p - back}, point by point."""
    rows = []
    for p in range(len(x)):
        backs = range(min(TAPS, int(place[p]) + 1))
        rows.append(bias + sum(weight[:, TAPS - 1 - back] * x[p - back] for back in backs))
    return torch.stack(rows)


def gradients(function, values, *more):
    """The result of `function`, and the gradient of one scalar of it for each of `values`."""
    result = function(*values, *more)
    weights = torch.linspace(-1, 1, result.numel(), dtype=result.dtype).view_as(result)
    return result, torch.autograd.grad((result * weights).sum(), values)


def assert_same(function, reference, values, *more):
    found, expected = gradients(function, values, *more), gradients(reference, values, *more)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_it_is_the_recurrence_forward_and_backward(sizes):
    values, lengths = inputs(sizes)
    assert_same(scan, recurrence, values, lengths)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 2 * CHUNK + 2), min_size=1, max_size=4), st.integers(0, 99))
def test_it_is_the_recurrence_whatever_the_events(sizes, seed):
    values, lengths = inputs(sizes, seed=seed)
    assert_same(scan, recurrence, values, lengths)


def test_events_do_not_leak_into_each_other():
    sizes = [65, 1, 200, 64, 30]
    values, lengths = inputs(sizes)
    x, dt, a, b, c = values
    together = scan(x, dt, a, b, c, lengths).split(sizes)
    parts = zip(*(value.split(sizes) for value in (x, dt, b, c)), strict=True)
    for found, (x1, dt1, b1, c1) in zip(together, parts, strict=True):
        alone = scan(x1, dt1, a, b1, c1, lengths_of([len(x1)]))
        torch.testing.assert_close(found, alone, rtol=1e-10, atol=1e-12)


def test_memory_for_what_is_carried_grows_with_events():
    """The pairs of chunks that the carry compares, of a batch and of one twice as large."""

    def pairs(events):
        lengths = lengths_of([300] * events)
        chunks = -(-lengths.tokens // CHUNK)
        rows = row_of(lengths, torch.zeros(chunks, CHUNK))
        return rows.count * rows.longest**2

    assert pairs(64) < 2.2 * pairs(32)


def test_a_long_batch_stays_accurate_in_single_precision():
    values, lengths = inputs([3000] * 4, dtype=torch.float32)
    found = scan(*values, lengths).double()
    exact = scan(*(value.double() for value in values), lengths)
    assert (found - exact).norm() / exact.norm() < 1e-5


def convolution(sizes):
    made = torch.Generator().manual_seed(1)
    values = [
        torch.randn(*shape, generator=made, dtype=torch.float64).requires_grad_()
        for shape in ((sum(sizes), STATE), (STATE, TAPS), (STATE,))
    ]
    return values, torch.cat([torch.arange(size) for size in sizes])


@pytest.mark.parametrize("sizes", [[1], [2], [3], [64], [1, 2, 3, 4, 5, 100]], ids=str)
def test_the_convolution_sees_its_own_event_only(sizes):
    values, place = convolution(sizes)
    assert_same(convolve, tap_by_tap, values, place)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no device: not compared")
def test_it_is_the_kernel_that_released_checkpoints_were_trained_with():
    kernels = pytest.importorskip(
        "mamba_ssm.ops.triton.ssd_combined", reason="no mamba-ssm: not compared"
    )
    sizes = [1, 64, 65, 1000]
    values, lengths = inputs(sizes, dtype=torch.float32)
    values = [v.detach().cuda().requires_grad_() for v in values]
    lengths = lengths.to(torch.device("cuda"))

    def kernel(x, dt, a, b, c, lengths):
        packed = (v.unsqueeze(0) for v in (x, dt, b.unsqueeze(1), c.unsqueeze(1)))
        x, dt, b, c = packed
        y = kernels.mamba_chunk_scan_combined(
            x, dt, a, b, c, chunk_size=CHUNK, seq_idx=lengths.event.int().unsqueeze(0)
        )
        return y.squeeze(0)

    found, expected = gradients(scan, values, lengths), gradients(kernel, values, lengths)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-2, atol=1e-2)
    for ours, theirs in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-2 * float(theirs.abs().max()))
