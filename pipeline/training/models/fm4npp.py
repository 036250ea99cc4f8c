"""FM4NPP's backbone: Mamba2 layers over serialised space points (arXiv 2508.14087).

Axes: P points, packed · W width · N state · H heads · D channels of a head · L layers.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.store import Store
from pipeline.families import FM4NPPMamba2
from pipeline.families.fm4npp import EXPAND, HEAD_CHANNELS, TAPS
from pipeline.training.batch import Batch
from pipeline.training.models.scan import convolve, scan

FREQUENCIES = 10


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


def nerf(x: Tensor) -> Tensor:
    """Return x, and sin and cos of 2^i π x for i < 10, along the last axis: 3 numbers become 63."""
    powers = 2.0 ** torch.arange(FREQUENCIES, device=x.device, dtype=x.dtype)
    angles = (math.pi * x.unsqueeze(-1) * powers).flatten(-2)
    return torch.cat([x, angles.sin(), angles.cos()], dim=-1)


class Embedding(nn.Module):
    """Frozen random projections of energy and of the NeRF features of eta, phi, r, added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        features = 3 * (1 + 2 * FREQUENCIES)
        self.energy = nn.Parameter(torch.randn(1, width), requires_grad=False)
        scale = features**-0.5
        self.position = nn.Parameter(torch.randn(features, width) * scale, requires_grad=False)

    def forward(self, points: Tensor) -> Tensor:
        """Return (P, W) of points (P, 4): normalised energy, eta, phi, r."""
        features = nerf(points[:, 1:]).to(self.position.dtype)
        return points[:, :1].to(self.energy.dtype) @ self.energy + features @ self.position


class Mamba2(nn.Module):
    """One Mamba2 mixer with separate projections to B and C and one group."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner, state = EXPAND * width, width // 16
        heads = inner // HEAD_CHANNELS
        self.sizes = (inner, state, state)
        self.in_proj = nn.Linear(width, 2 * inner + heads, bias=False)
        self.lin_B = nn.Linear(width, state, bias=False)
        self.lin_C = nn.Linear(width, state, bias=False)
        channels = inner + 2 * state
        bound = TAPS**-0.5
        self.conv_weight = nn.Parameter(torch.empty(channels, TAPS).uniform_(-bound, bound))
        self.conv_bias = nn.Parameter(torch.zeros(channels))
        # dt starts log-uniform between 0.001 and 0.1: dt_bias is softplus⁻¹ of it (Mamba2 §A).
        dt = torch.exp(torch.empty(heads).uniform_(math.log(1e-3), math.log(1e-1)))
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = RMSNorm(inner)
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Return the mixed hidden states (P, W)."""
        inner = self.sizes[0]
        z, x, dt = self.in_proj(hidden).split([inner, inner, len(self.D)], dim=-1)
        mixed = torch.cat([x, self.lin_B(hidden), self.lin_C(hidden)], dim=-1)
        mixed = functional.silu(convolve(mixed, self.conv_weight, self.conv_bias, batch.place))
        x, b, c = mixed.float().split(self.sizes, dim=-1)
        x = x.unflatten(-1, (-1, HEAD_CHANNELS))
        dt = functional.softplus(dt.float() + self.dt_bias.float())
        y = scan(x, dt, -self.A_log.float().exp(), b, c, batch.event)
        y = (y + self.D.float().unsqueeze(-1) * x).flatten(1).to(z.dtype)
        return self.out_proj(self.norm(y, gate=z))


class Layer(nn.Module):
    """x + dropout(Mamba2(RMSNorm(x)))."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = RMSNorm(width)
        self.mixer = Mamba2(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Return the next hidden states (P, W)."""
        mixed: Tensor = self.dropout(self.mixer(self.norm(hidden), batch))
        return hidden + mixed


class Backbone(nn.Module):
    """The pretrained part: embedding, L layers, and the output of each of them."""

    def __init__(self, model: FM4NPPMamba2) -> None:
        super().__init__()
        self.embedding = Embedding(model.width)
        self.layers = nn.ModuleList(Layer(model.width, model.dropout) for _ in range(model.layers))
        # Keep the residual stream's size independent of depth, as GPT-2 does.
        with torch.no_grad():
            for name, weight in self.layers.named_parameters():
                if name.endswith("out_proj.weight"):
                    weight.div_(math.sqrt(model.layers))

    def forward(self, batch: Batch) -> list[Tensor]:
        """Return the hidden states (P, W) after each of the L layers."""
        hidden = self.embedding(batch.points)
        outputs = []
        for layer in self.layers:
            hidden = layer(hidden, batch)
            outputs.append(hidden)
        return outputs


class NeighbourPredictor(nn.Module):
    """The backbone with its pretraining head: the positions of the k next neighbours."""

    def __init__(self, model: FM4NPPMamba2) -> None:
        super().__init__()
        self.backbone = Backbone(model)
        self.norm = RMSNorm(model.width)
        self.head = nn.Linear(model.width, 3 * model.neighbours)

    def forward(self, batch: Batch) -> Tensor:
        """Return the predicted normalised (eta, phi, r) of the k next neighbours (P, k, 3)."""
        predicted: Tensor = self.head(self.norm(self.backbone(batch)[-1]))
        return predicted.unflatten(-1, (-1, 3))


def build(model: FM4NPPMamba2, store: Store | None) -> NeighbourPredictor:  # noqa: ARG001
    """Return the module; nothing of the store decides its shape."""
    return NeighbourPredictor(model)
