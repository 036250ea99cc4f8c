"""The selective scan of Mamba, chunked, in plain PyTorch.

Axes: P points of all events of a batch, packed · D channels · N state · C chunks · Q points of a
chunk.

For every event by itself, and with a state that starts from zero,

    s_p[d, n] = exp(a[d, n] · dt_p[d]) · s_{p-1}[d, n] + dt_p[d] · x_p[d] · b_p[n],
    y_p[d] = Σ_n s_p[d, n] · c_p[n]

(Gu and Dao, arXiv:2312.00752, eq. 2 discretised as in §2). As each channel and state has a decay of
its own there is no matrix product in it, unlike Mamba2's: the chunks run side by side, point after
point, and what a chunk hands on is added afterwards.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def selective_scan(  # noqa: D417 - the axes are in the signature
    x_PD: Tensor, dt_PD: Tensor, a_DN: Tensor, b_PN: Tensor, c_PN: Tensor, event_P: Tensor
) -> Tensor:
    """Return y (P, D) of the recurrence above, restarted at every event.

    Takes about 2 √P steps one after another instead of P; memory grows with P · D · N.

    Args:
        a_DN: Negative decay rates; dt_PD: positive step sizes.
        event_P: The event of each point, non-decreasing.
    """
    points = len(x_PD)
    size = max(1, math.isqrt(points))
    starts_P = functional.pad(event_P[1:] != event_P[:-1], (1, 0), value=True)
    x, dt, b, c, starts = (_chunks(each, size) for each in (x_PD, dt_PD, b_PN, c_PN, starts_P))
    decay_CQDN = (dt.unsqueeze(-1) * a_DN).exp() * ~starts[..., None, None]
    added_CQDN = (dt * x).unsqueeze(-1) * b.unsqueeze(2)
    states, reach = [added_CQDN[:, 0]], [decay_CQDN[:, 0]]
    for q in range(1, size):
        states.append(decay_CQDN[:, q] * states[-1] + added_CQDN[:, q])
        reach.append(decay_CQDN[:, q] * reach[-1])
    entering_CDN = _carry(states[-1], reach[-1])
    state_CQDN = torch.stack(states, 1) + torch.stack(reach, 1) * entering_CDN.unsqueeze(1)
    y_CQD = (state_CQDN @ c.unsqueeze(-1)).squeeze(-1)
    return y_CQD.flatten(0, 1)[:points]


def _chunks(values: Tensor, size: int) -> Tensor:
    """Return `values` (P, ...) as (C, Q, ...), with zeros after the end."""
    missing = -len(values) % size
    padding = (0, 0) * (values.ndim - 1) + (0, missing)
    return functional.pad(values, padding).unflatten(0, (-1, size))


def _carry(ends_CDN: Tensor, reach_CDN: Tensor) -> Tensor:
    """Return the state that enters each chunk (C, D, N): the first one's is zero."""
    entering = [torch.zeros_like(ends_CDN[0])]
    for end, reach in zip(ends_CDN[:-1], reach_CDN[:-1], strict=True):
        entering.append(end + reach * entering[-1])
    return torch.stack(entering)
