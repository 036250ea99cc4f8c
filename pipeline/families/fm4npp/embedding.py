"""Space points embedded: frozen random projections of the energy and of features of the position.

The choices are those of FM4NPP (arXiv:2508.14087), which uses `nerf` and `add`; columns and counts
are those of its public code (github.com/FM4NPP/PP_collision at 0a0a17c). Axes: P points · W width ·
F frequencies.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.families.fm4npp.spec import (
    BANDS,
    COORDINATES,
    FREQUENCIES,
    Combine,
    Encoding,
    energy_channels,
    projected_features,
)

RESOLUTION = 20.0
LONGEST = 1e4
PLACES = 1000.0  # how long a sequence [0, 1] is for `continuous`


def nerf(x: Tensor) -> Tensor:
    """Return x, and sin and cos of 2^i x for i < 10, along the last axis: 3 numbers become 63.

    The encoding of Mildenhall et al. (arXiv:2003.08934, eq. 4) without its π, as in FM4NPP's code.
    """
    powers = 2.0 ** torch.arange(FREQUENCIES, device=x.device, dtype=x.dtype)
    return torch.cat([x, _waves(x, powers)], dim=-1)


def fourier(x: Tensor) -> Tensor:
    """Return x, and sin and cos of π f x for 12 f from 1 to 10: 3 numbers become 75.

    Bands up to half the resolution of 20, evenly spaced (Perceiver, arXiv:2103.03206, §3.2).
    """
    bands = torch.linspace(1, RESOLUTION / 2, BANDS, device=x.device, dtype=x.dtype)
    return torch.cat([x, _waves(x, math.pi * bands)], dim=-1)


def continuous(x: Tensor, width: int) -> Tensor:
    """Return sin and cos of 1000 x / 10⁴^(i / n) for i < n: 3 numbers become `width`.

    n is the largest that fits, a sixth of the width; the last channels are zero. The positional
    encoding of transformers (arXiv:1706.03762, §3.5) at places that are no integers: [0, 1] is
    taken as a sequence of a thousand.
    """
    count = width // (2 * COORDINATES)
    steps = torch.arange(count, device=x.device, dtype=x.dtype)
    waves = _waves(x, PLACES * LONGEST ** (-steps / count))
    return nn.functional.pad(waves, (0, width - waves.shape[-1]))


def _waves(x: Tensor, factors: Tensor) -> Tensor:
    """Return the sines of x (..., 3) times the first of `factors` (F), the cosines, and so on."""
    angles = x.unsqueeze(-2) * factors.unsqueeze(-1)
    return torch.stack([angles.sin(), angles.cos()], dim=-2).flatten(-3)


PROJECTED: dict[Encoding, Callable[[Tensor], Tensor]] = {
    "nerf": nerf,
    "fourier": fourier,
    "none": lambda x: x,
}


class Embedding(nn.Module):
    """Frozen projections of energy and position, all standard normal: added, or mixed.

    With "add" both have W channels. With "concat" the energy has W / 4, stands beside the W of the
    position, and a third frozen projection makes W of them. "continuous" has W features, which
    need no projection.
    """

    def __init__(self, width: int, encoding: Encoding = "nerf", combine: Combine = "add") -> None:
        super().__init__()
        self.width, self.encoding = width, encoding
        channels = energy_channels(width, combine)
        self.energy = _frozen(1, channels)
        features = projected_features(encoding)
        self.position = _frozen(features, width) if features else None
        self.mixed = _frozen(channels + width, width) if combine == "concat" else None

    def forward(self, points: Tensor) -> Tensor:
        """Return (P, W) of points (P, 4): normalised energy, eta, phi, r."""
        energy = points[:, :1].to(self.energy.dtype) @ self.energy
        position = self.of_position(points[:, 1:])
        if self.mixed is None:
            return energy + position
        return torch.cat([energy, position], dim=-1) @ self.mixed

    def of_position(self, x: Tensor) -> Tensor:
        """Return the embedding (P, W) of normalised eta, phi, r (P, 3) alone."""
        if self.position is None:
            return continuous(x, self.width).to(self.energy.dtype)
        features = PROJECTED[self.encoding](x)
        return features.to(self.position.dtype) @ self.position


def _frozen(inputs: int, outputs: int) -> nn.Parameter:
    """Return a standard normal projection (inputs, outputs) that is never trained."""
    return nn.Parameter(torch.randn(inputs, outputs), requires_grad=False)
