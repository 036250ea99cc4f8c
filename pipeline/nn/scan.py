"""The selective state-space scan of Mamba2, chunked, in plain PyTorch.

Axes: P points of all events of a batch, packed · H heads · D channels of a head · N state
· C chunks · Q points of a chunk
· R rows of chunks · L chunks of a row.

For every event by itself, and with a state that starts from zero,

    s_p = exp(a · dt_p) · s_{p-1} + dt_p · x_p ⊗ b_p,    y_p = s_p · c_p

(Dao and Gu, "Transformers are SSMs", arXiv 2405.21060, eq. 1 discretised as in §6 there).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.nn.lengths import Lengths

CHUNK = 64


def scan(
    x_PHD: Tensor, dt_PH: Tensor, a_H: Tensor, b_PN: Tensor, c_PN: Tensor, lengths: Lengths
) -> Tensor:
    """Return y (P, H, D) of the recurrence above, restarted at every event of `lengths`.

    Within a chunk the recurrence is a masked matrix product; between chunks only the state at the
    chunk's end is carried (§6 of the paper). Memory grows with P · CHUNK and, of the longest event,
    with the square of its chunks for every event.

    Args:
        a_H: Negative decay rates; dt_PH: positive step sizes.
    """
    points = x_PHD.shape[0]
    missing = -points % CHUNK
    event_CQ = functional.pad(lengths.event, (0, missing), value=-1).view(-1, CHUNK)
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
        entering_CHND = _carry(state_CHND[:-1], log_CHQ[:-1, :, -1], row_of(lengths, event_CQ))
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


@dataclass(frozen=True)
class Rows:
    """Chunks (C) in a row for each event that some end in: the `index` (C) of each among R · L.

    A state is carried along a row, and to no other.
    """

    count: int
    longest: int
    index: Tensor

    def filled(self, values: Tensor) -> Tensor:
        """Return `values` (C, ...) as (R, L, ...), zeros where a row has no more chunks."""
        flat = values.new_zeros((self.count * self.longest, *values.shape[1:]))
        return flat.index_copy(0, self.index, values).unflatten(0, (self.count, self.longest))


def row_of(lengths: Lengths, event_CQ: Tensor) -> Rows:
    """Return the rows of all chunks but the last, which hands no state on."""
    chunks, device = event_CQ.shape[0] - 1, event_CQ.device
    if lengths.events == 1:
        return Rows(1, chunks, torch.arange(chunks, device=device))
    counts, sizes = np.array(lengths.runs).T
    ends = np.repeat(sizes, counts).cumsum()
    last = np.searchsorted(ends, CHUNK * np.arange(1, chunks + 1) - 1, side="right")
    _, first, row = np.unique(last, return_index=True, return_inverse=True)
    in_row = np.arange(chunks) - first[row]
    longest = int(in_row.max()) + 1
    return Rows(len(first), longest, torch.from_numpy(row * longest + in_row).to(device))


def _carry(state_CHND: Tensor, total_CH: Tensor, rows: Rows) -> Tensor:
    """Return the state that each chunk hands on (C, H, N, D), with those before it in its row.

    The totals are summed in float64: over a long event they grow to thousands, and their
    differences are what counts.
    """
    total_RHL = rows.filled(total_CH.double()).transpose(1, 2)
    sum_RHL = total_RHL.cumsum(2)
    earlier_LL = torch.ones(rows.longest, rows.longest, dtype=torch.bool, device=sum_RHL.device)
    decay_RHLL = sum_RHL.unsqueeze(3) - sum_RHL.unsqueeze(2)
    decay_RHLL = decay_RHLL.masked_fill(~earlier_LL.tril(), -torch.inf)
    decay_RHLL = decay_RHLL.exp().to(state_CHND.dtype)
    before_RHLX = rows.filled(state_CHND.flatten(2)).transpose(1, 2)
    carried_CHX = (decay_RHLL @ before_RHLX).transpose(1, 2).flatten(0, 1)[rows.index]
    return carried_CHX.unflatten(2, state_CHND.shape[2:])


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
