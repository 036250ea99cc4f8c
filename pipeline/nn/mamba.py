"""The mixers of Mamba and Mamba2 over packed events.

Axes: P points, packed · W width · N state · H heads · D channels, of a head or of all.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.families.fm4npp.spec import EXPAND, HEAD_CHANNELS, TAPS, TimeSteps
from pipeline.nn import kernels
from pipeline.nn.batch import Batch
from pipeline.nn.kernels import Scan
from pipeline.nn.scan import convolve

SHORTEST, LONGEST = 1e-3, 1e-1  # of the first time steps, log-uniform (arXiv:2312.00752, §3.6)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned scale, optionally gated by silu(z) first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Return x · silu(gate) over its root mean square along the last axis."""
        if gate is not None:
            x = x * functional.silu(gate)
        return functional.rms_norm(x, self.weight.shape, self.weight, eps=1e-5)


def first_steps(channels: int, law: TimeSteps) -> Tensor:
    """Return biases (D) of which softplus gives time steps log-uniform from 0.001 to 0.1; or 0."""
    if law == "zero":
        return torch.zeros(channels)
    dt = torch.exp(torch.empty(channels).uniform_(math.log(SHORTEST), math.log(LONGEST)))
    return dt + torch.log(-torch.expm1(-dt))


class Mamba(nn.Module):
    """One Mamba mixer (arXiv:2312.00752, §3.4): a decay for each channel and state."""

    def __init__(
        self, width: int, scan: Scan = kernels.selective, steps: TimeSteps = "log-uniform"
    ) -> None:
        super().__init__()
        self.scan = scan
        inner, state, rank = EXPAND * width, width // 16, -(-width // 16)
        self.sizes = (rank, state, state)
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        bound = TAPS**-0.5
        self.conv_weight = nn.Parameter(torch.empty(inner, TAPS).uniform_(-bound, bound))
        self.conv_bias = nn.Parameter(torch.zeros(inner))
        self.x_proj = nn.Linear(inner, sum(self.sizes), bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        with torch.no_grad():
            self.dt_proj.weight.uniform_(-(rank**-0.5), rank**-0.5)
            self.dt_proj.bias.copy_(first_steps(inner, steps))
        rates = torch.arange(1, state + 1, dtype=torch.float32)
        self.A_log = nn.Parameter(rates.log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Return the mixed hidden states (P, W)."""
        x, z = self.in_proj(hidden).chunk(2, dim=-1)
        x = functional.silu(convolve(x, self.conv_weight, self.conv_bias, batch.index_in_event))
        rank, b, c = self.x_proj(x).split(self.sizes, dim=-1)
        dt = functional.softplus(self.dt_proj(rank).float())
        wide = x.float()
        a = -self.A_log.float().exp()
        y = self.scan(wide, dt, a, b.float(), c.float(), batch) + self.D.float() * wide
        return self.out_proj(y.to(z.dtype) * functional.silu(z))


class Mamba2(nn.Module):
    """One Mamba2 mixer (arXiv:2405.21060) with separate projections to B and C and one group."""

    def __init__(
        self, width: int, scan: Scan = kernels.ssd, steps: TimeSteps = "log-uniform"
    ) -> None:
        super().__init__()
        self.scan = scan
        inner, state = EXPAND * width, width // 16
        heads = inner // HEAD_CHANNELS
        self.sizes = (inner, state, state)
        self.in_proj = nn.Linear(width, 2 * inner + heads, bias=False)
        self.lin_B = nn.Linear(width, state, bias=False)
        self.lin_C = nn.Linear(width, state, bias=False)
        # The laws of FM4NPP's trainer, which are those of its rule of widths (arXiv 2508.14087).
        nn.init.normal_(self.lin_B.weight, std=math.sqrt(state / width))
        nn.init.normal_(self.lin_C.weight, std=math.sqrt(1 / (width * state)))
        channels = inner + 2 * state
        bound = TAPS**-0.5
        self.conv_weight = nn.Parameter(torch.empty(channels, TAPS).uniform_(-bound, bound))
        self.conv_bias = nn.Parameter(torch.zeros(channels))
        self.dt_bias = nn.Parameter(first_steps(heads, steps))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = RMSNorm(inner)
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Return the mixed hidden states (P, W)."""
        inner = self.sizes[0]
        z, x, dt = self.in_proj(hidden).split([inner, inner, len(self.D)], dim=-1)
        mixed = torch.cat([x, self.lin_B(hidden), self.lin_C(hidden)], dim=-1)
        mixed = functional.silu(
            convolve(mixed, self.conv_weight, self.conv_bias, batch.index_in_event)
        )
        x, b, c = mixed.float().split(self.sizes, dim=-1)
        x = x.unflatten(-1, (-1, HEAD_CHANNELS))
        dt = functional.softplus(dt.float() + self.dt_bias.float())
        y = self.scan(x, dt, -self.A_log.float().exp(), b, c, batch)
        y = (y + self.D.float().unsqueeze(-1) * x).flatten(1).to(z.dtype)
        return self.out_proj(self.norm(y, gate=z))
