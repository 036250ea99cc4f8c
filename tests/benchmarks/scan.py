"""The chunked scan forward and backward, against the naive recurrence and one matrix product."""

import torch
from torch import Tensor

from pipeline.nn.lengths import Lengths
from pipeline.nn.scan import CHUNK, scan
from pipeline.nn.selective import selective_scan
from tests.benchmarks.contest import Contest

HEADS, CHANNELS, STATE = 4, 64, 8


def contest(*, points: int) -> Contest:
    """Return the contest over `points` points in two events, in the shape of width 128."""
    torch.manual_seed(1)
    inputs = (
        torch.randn(points, HEADS, CHANNELS, requires_grad=True),
        torch.rand(points, HEADS, requires_grad=True),
        -torch.rand(HEADS),
        torch.randn(points, STATE, requires_grad=True),
        torch.randn(points, STATE, requires_grad=True),
    )
    lengths = Lengths.of(torch.tensor([0, points // 2, points]))
    side = round((flops(points) / 2) ** (1 / 3))
    square = torch.randn(side, side)
    product = "torch.matmul of the same operations"
    return Contest(
        what="Mamba2 scan, forward and backward",
        amount=points,
        unit="points",
        ours=lambda: scan(*inputs, lengths).square().sum().backward(),
        others={
            "the recurrence, point by point": lambda: (
                naive(*inputs, lengths.event).sum().backward()
            ),
            product: lambda: square @ square,
        },
        limits=frozenset({product}),
    )


def selective_contest(*, points: int) -> Contest:
    """Return the contest of Mamba's scan over `points` points in two events, at width 128."""
    torch.manual_seed(1)
    inner = HEADS * CHANNELS
    inputs = (
        torch.randn(points, inner, requires_grad=True),
        torch.rand(points, inner, requires_grad=True),
        -torch.rand(inner, STATE),
        torch.randn(points, STATE, requires_grad=True),
        torch.randn(points, STATE, requires_grad=True),
    )
    event = (torch.arange(points) >= points // 2).long()
    # What cannot be done without: the decays and the states are made, written and read once.
    room = torch.empty(2, points, inner, STATE)
    limit = "torch: the exponentials alone"
    return Contest(
        what="Mamba scan, forward and backward",
        amount=points,
        unit="points",
        ours=lambda: selective_scan(*inputs, event).square().sum().backward(),
        others={
            "the recurrence, point by point": lambda: (
                naive_selective(*inputs, event).square().sum().backward()
            ),
            limit: lambda: torch.exp(room[0], out=room[1]),
        },
        limits=frozenset({limit}),
    )


def naive_selective(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, event: Tensor
) -> Tensor:
    """Return y (P, D) of s = exp(a dt) s + dt x ⊗ b, y = s · c, restarted at every event."""
    state, outputs = torch.zeros_like(a), []
    for point in range(len(x)):
        continues = float(point > 0 and event[point] == event[point - 1])
        decay = torch.exp(a * dt[point, :, None]) * continues
        state = decay * state + (dt[point] * x[point])[:, None] * b[point]
        outputs.append(state @ c[point])
    return torch.stack(outputs)


def flops(points: int) -> int:
    """Return the operations of the scan's matrix products, forward and twice that backward."""
    chunks = -(-points // CHUNK)
    within = CHUNK * CHUNK * (STATE + HEADS * CHANNELS)
    states = 2 * CHUNK * STATE * HEADS * CHANNELS
    carry = chunks * STATE * HEADS * CHANNELS
    return 3 * 2 * chunks * (within + states + carry)


def naive(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, event: Tensor) -> Tensor:
    """Return y (P, H, D) of s = exp(a dt) s + dt x ⊗ b, y = s · c, restarted at every event."""
    state = x.new_zeros(HEADS, CHANNELS, STATE)
    outputs = []
    for point in range(len(x)):
        continues = float(point > 0 and event[point] == event[point - 1])
        decay = torch.exp(a * dt[point])[:, None, None] * continues
        state = decay * state + (dt[point, :, None] * x[point]).unsqueeze(-1) * b[point]
        outputs.append(state @ c[point])
    return torch.stack(outputs)
