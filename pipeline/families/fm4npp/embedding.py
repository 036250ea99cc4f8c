"""Space points embedded: frozen random projections of the energy and of features of the position.

The choices are those of FM4NPP (arXiv:2508.14087), which uses `nerf` and `add`. Axes: P points ·
W width.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.families.fm4npp.spec import BANDS, FREQUENCIES, Combine, Encoding, encoded_features

RESOLUTION = 20.0
LONGEST = 1e4


def nerf(x: Tensor) -> Tensor:
    """Return x, and sin and cos of 2^i π x for i < 10, along the last axis: 3 numbers become 63.

    Mildenhall et al., arXiv:2003.08934, eq. 4.
    """
    powers = 2.0 ** torch.arange(FREQUENCIES, device=x.device, dtype=x.dtype)
    return _waves(x, math.pi * powers)


def fourier(x: Tensor) -> Tensor:
    """Return x, and sin and cos of π f x for 12 f from 1 to 10: 3 numbers become 75.

    Bands up to half the resolution of 20, evenly spaced (Perceiver, arXiv:2103.03206, §3.2).
    """
    bands = torch.linspace(1, RESOLUTION / 2, BANDS, device=x.device, dtype=x.dtype)
    return _waves(x, math.pi * bands)


def continuous(x: Tensor) -> Tensor:
    """Return sin and cos of 1000 x / 10⁴^(i / 12) for i < 12: 3 numbers become 72.

    The positional encoding of transformers (arXiv:1706.03762, §3.5) at places that are no integers:
    [0, 1] is taken as a sequence of a thousand.
    """
    steps = torch.arange(BANDS, device=x.device, dtype=x.dtype)
    return _waves(x, 1000.0 * LONGEST ** (-steps / BANDS))[..., x.shape[-1] :]


def _waves(x: Tensor, factors: Tensor) -> Tensor:
    """Return x, and the sines and cosines of x times each of `factors`, along the last axis."""
    angles = (x.unsqueeze(-1) * factors).flatten(-2)
    return torch.cat([x, angles.sin(), angles.cos()], dim=-1)


ENCODINGS: dict[Encoding, Callable[[Tensor], Tensor]] = {
    "nerf": nerf,
    "fourier": fourier,
    "continuous": continuous,
    "none": lambda x: x,
}


class Embedding(nn.Module):
    """Frozen random projections of energy and position features: added, or side by side."""

    def __init__(self, width: int, encoding: Encoding = "nerf", combine: Combine = "add") -> None:
        super().__init__()
        self.encode = ENCODINGS[encoding]
        self.adds = combine == "add"
        channels = width if self.adds else width // 2
        features = encoded_features(encoding)
        self.energy = nn.Parameter(torch.randn(1, channels), requires_grad=False)
        scale = features**-0.5
        self.position = nn.Parameter(torch.randn(features, channels) * scale, requires_grad=False)

    def forward(self, points: Tensor) -> Tensor:
        """Return (P, W) of points (P, 4): normalised energy, eta, phi, r."""
        features = self.encode(points[:, 1:]).to(self.position.dtype)
        energy = points[:, :1].to(self.energy.dtype) @ self.energy
        position = features @ self.position
        return energy + position if self.adds else torch.cat([energy, position], dim=-1)
