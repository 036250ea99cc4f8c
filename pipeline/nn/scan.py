"""The selective state-space scan of Mamba2, chunked, in plain PyTorch.

Axes: P points of all events of a batch, packed · H heads · D channels of a head · N state
· C chunks · Q points of a chunk.

For every event by itself, and with a state that starts from zero,

    s_p = exp(a · dt_p) · s_{p-1} + dt_p · x_p ⊗ b_p,    y_p = s_p · c_p

(Dao and Gu, "Transformers are SSMs", arXiv 2405.21060, eq. 1 discretised as in §6 there).
"""

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 64


def scan(
    x_PHD: Tensor, dt_PH: Tensor, a_H: Tensor, b_PN: Tensor, c_PN: Tensor, event_P: Tensor
) -> Tensor:
    """Return y (P, H, D) of the recurrence above, restarted at every event.

    Within a chunk the recurrence is a masked matrix product; between chunks only the state at the
    chunk's end is carried (§6 of the paper). Memory grows with P · CHUNK + (P / CHUNK)².

    Args:
        a_H: Negative decay rates; dt_PH: positive step sizes.
        event_P: The event of each point, non-decreasing.
    """
    points = x_PHD.shape[0]
    missing = -points % CHUNK
    event_CQ = functional.pad(event_P, (0, missing), value=-1).view(-1, CHUNK)
    dt_CQH = functional.pad(dt_PH, (0, 0, 0, missing)).unflatten(0, (-1, CHUNK))
    b_CQN = functional.pad(b_PN, (0, 0, 0, missing)).unflatten(0, (-1, CHUNK))
    c_CQN = functional.pad(c_PN, (0, 0, 0, missing)).unflatten(0, (-1, CHUNK))
    x_CQHD = functional.pad(x_PHD, (0, 0, 0, 0, 0, missing)).unflatten(0, (-1, CHUNK))

    u_CHQD = (dt_CQH.unsqueeze(-1) * x_CQHD).transpose(1, 2)
    log_CHQ = (dt_CQH * a_H).cumsum(1).transpose(1, 2)
    last_C = event_CQ[:, -1]

    y_CHQD = _within(u_CHQD, log_CHQ, b_CQN, c_CQN, event_CQ)
    if event_CQ.shape[0] > 1 or torch.compiler.is_exporting():  # a graph is for any number
        ends_CH1Q = (log_CHQ[..., -1:] - log_CHQ).exp().unsqueeze(2)
        ends_CH1Q = ends_CH1Q * (event_CQ == last_C[:, None])[:, None, None]
        state_CHND = (b_CQN.transpose(1, 2).unsqueeze(1) * ends_CH1Q) @ u_CHQD
        entering_CHND = _carry(state_CHND, log_CHQ[..., -1], last_C)
        continues_CQ = event_CQ[1:] == last_C[:-1, None]
        reach_CHQ1 = (log_CHQ[1:].exp() * continues_CQ[:, None]).unsqueeze(-1)
        across = (c_CQN[1:].unsqueeze(1) * reach_CHQ1) @ entering_CHND
        y_CHQD = y_CHQD + functional.pad(across, (0, 0) * 3 + (1, 0))
    return y_CHQD.transpose(1, 2).flatten(0, 1)[:points]


def _within(
    u_CHQD: Tensor, log_CHQ: Tensor, b_CQN: Tensor, c_CQN: Tensor, event_CQ: Tensor
) -> Tensor:
    """Return what the points of each chunk contribute to later points of the same chunk."""
    same_CQQ = (event_CQ[:, :, None] == event_CQ[:, None, :]).tril()
    decay = log_CHQ[..., :, None] - log_CHQ[..., None, :]
    decay = decay.masked_fill(~same_CQQ[:, None], -torch.inf).exp()
    return ((c_CQN @ b_CQN.transpose(1, 2)).unsqueeze(1) * decay) @ u_CHQD


def _carry(state_CHND: Tensor, total_CH: Tensor, last_C: Tensor) -> Tensor:
    """Return the state that enters each chunk but the first (C - 1, H, N, D).

    The totals are summed in float64: over a long batch they grow to thousands, and their
    differences are what counts.
    """
    sum_CH = total_CH.double().cumsum(0)[:-1]
    same_CC = (last_C[:-1, None] == last_C[None, :-1]).tril()
    decay_CCH = (sum_CH[:, None] - sum_CH[None, :]).masked_fill(~same_CC[..., None], -torch.inf)
    decay_HCC = decay_CCH.exp().to(state_CHND.dtype).permute(2, 0, 1)
    before_HCX = state_CHND[:-1].transpose(0, 1).flatten(2)
    return (decay_HCC @ before_HCX).unflatten(2, state_CHND.shape[2:]).transpose(0, 1)


def convolve(x_PK: Tensor, weight_KT: Tensor, bias_K: Tensor, index_P: Tensor) -> Tensor:
    """Return the causal depthwise convolution of `x` (P, K channels) with T taps, per event.

    `index_P` is the index of each point in its event; taps before the event's start count zero.
    """
    taps = weight_KT.shape[1]
    y = bias_K + x_PK * weight_KT[:, -1]
    for back in range(1, taps):
        shifted = functional.pad(x_PK, (0, 0, back, 0))[:-back]
        inside = (index_P >= back).to(x_PK.dtype).unsqueeze(-1)
        y = y + shifted * inside * weight_KT[:, -1 - back]
    return y
