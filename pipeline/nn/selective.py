"""The selective scan of Mamba, chunked, in plain PyTorch.

Axes: P points of all events of a batch, packed · D channels · N state · C chunks · Q points of a
chunk.

For every event by itself, and with a state that starts from zero,

    s_p[d, n] = exp(a[d, n] · dt_p[d]) · s_{p-1}[d, n] + dt_p[d] · x_p[d] · b_p[n],
    y_p[d] = Σ_n s_p[d, n] · c_p[n]

(Gu and Dao, arXiv:2312.00752, eq. 2 discretised as in §2). As each channel and state has a decay of
its own there is no matrix product in it, unlike Mamba2's.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

CACHED = 1 << 20  # numbers of state that are worked on together on a CPU


def selective_scan(
    x_PD: Tensor, dt_PD: Tensor, a_DN: Tensor, b_PN: Tensor, c_PN: Tensor, event_P: Tensor
) -> Tensor:
    """Return y (P, D) of the recurrence above, restarted at every event.

    Takes about 2 √P steps one after another instead of P; memory grows with P · D · N. On a CPU
    some channels are done at a time, whose states fit its cache.

    Args:
        a_DN: Negative decay rates; dt_PD: positive step sizes.
        event_P: The event of each point, non-decreasing.
    """
    starts_P = functional.pad(event_P[1:] != event_P[:-1], (1, 0), value=True)
    channels, state = a_DN.shape
    some = max(1, CACHED // (len(x_PD) * state)) if x_PD.device.type == "cpu" else channels
    parts = zip(*(each.split(some, -1) for each in (x_PD, dt_PD)), a_DN.split(some), strict=True)
    return torch.cat([_Scan.apply(x, dt, a, b_PN, c_PN, starts_P) for x, dt, a in parts], -1)


class _Scan(torch.autograd.Function):
    """The scan with its gradient written out, which is a scan from the end: no step is recorded."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        """Return y (P, D); keeps the states."""
        x, dt, _, b, c, _ = inputs
        added = (dt * x).unsqueeze(-1) * b.unsqueeze(1)
        states = recurrence(_decays(*inputs), added)
        ctx.save_for_backward(*inputs, states)
        return (states @ c.unsqueeze(-1)).squeeze(-1)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, dt, a, b and c.

        The slope g of a state is that of its own output, and that of the next state, decayed:
        g_p = slope_p c_p + decay_{p+1} g_{p+1}.
        """
        x, dt, a, b, c, starts, states = ctx.saved_tensors
        (slope,) = slopes
        decays = _decays(x, dt, a, b, c, starts)
        back = functional.pad(decays[1:], (0, 0, 0, 0, 0, 1)).flip(0)
        g = recurrence(back, (slope.unsqueeze(-1) * c.unsqueeze(1)).flip(0)).flip(0)
        before = functional.pad(states[:-1], (0, 0, 0, 0, 1, 0))
        exponent = decays.mul_(g).mul_(before)  # the slope of a · dt, which is in the exponent
        inflow = (g @ b.unsqueeze(-1)).squeeze(-1)  # that of dt · x
        return (
            inflow * dt,
            inflow * x + (exponent * a).sum(-1),
            (exponent * dt.unsqueeze(-1)).sum(0),
            ((dt * x).unsqueeze(1) @ g).squeeze(1),
            (slope.unsqueeze(1) @ states).squeeze(1),
            None,
        )


def _decays(*inputs: Tensor) -> Tensor:
    """Return what is left of a state one point later (P, D, N): nothing at an event's start."""
    _, dt, a, _, _, starts = inputs
    return (dt.unsqueeze(-1) * a).exp_().masked_fill_(starts[:, None, None], 0)


def recurrence(decays_PDN: Tensor, added_PDN: Tensor) -> Tensor:
    """Return s (P, D, N) of s_p = decay_p · s_{p-1} + added_p.

    The chunks run side by side, point after point; then each gets what the one before it hands on.
    """
    points = len(added_PDN)
    size = max(1, math.isqrt(points))
    padding = (0, 0, 0, 0, 0, -points % size)
    decays, states = (
        functional.pad(each, padding).unflatten(0, (-1, size)) for each in (decays_PDN, added_PDN)
    )
    if not padding[-1]:
        states = states.clone()
    reach = decays.clone()
    for q in range(1, size):
        states[:, q].addcmul_(decays[:, q], states[:, q - 1])
        reach[:, q].mul_(reach[:, q - 1])
    for c in range(1, len(states)):
        states[c].addcmul_(reach[c], states[c - 1, -1])
    return states.flatten(0, 1)[:points]
