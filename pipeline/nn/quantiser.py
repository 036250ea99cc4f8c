"""The vector quantiser of a VQ-VAE: a codebook that follows where its inputs are.

van den Oord et al., arXiv:1711.00937; the synchronised update and the trade-off β are those of Huh
et al., arXiv:2305.08842. Axes: P points, packed · D latent numbers · C codes.
"""

import torch
from torch import Tensor, nn

from pipeline.nn.collectives import Collective

AT_ONCE = 1 << 24  # distances that are in memory together
LLOYD_STEPS = 10
SPREAD = 0.01  # how far from its point a code is put that is moved there


class Quantiser(Collective):
    """A codebook: learnt vectors, and beside them where codes were moved to.

    What moves without a gradient, by k-means at the first batch and from dead codes later, is kept
    in a buffer: an optimiser with copies of the parameters (ZeRO, half precision) would undo it.
    Before the first batch the codes are as drawn.

    With an `affine_rate` r all codes are scaled by 1 + r s and shifted by r b along each latent
    number, s and b learnt (Huh et al., §4.1): their steps move used and unused codes alike.
    """

    moved: Tensor
    idle: Tensor
    steps: Tensor

    def __init__(
        self,
        codes: int,
        latent: int,
        *,
        beta: float,
        sync: float,
        replacement_steps: int,
        affine_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.beta, self.sync, self.replacement_steps = beta, sync, replacement_steps
        self.affine_rate = affine_rate
        self.learnt = nn.Parameter(torch.randn(codes, latent))
        if affine_rate:
            self.scale = nn.Parameter(torch.zeros(latent))
            self.shift = nn.Parameter(torch.zeros(latent))
        self.register_buffer("moved", torch.zeros(codes, latent))
        self.register_buffer("idle", torch.zeros(codes, dtype=torch.int64))
        self.register_buffer("steps", torch.zeros(1, dtype=torch.int64))

    @property
    def codebook(self) -> Tensor:
        """The vectors of all codes (C, D)."""
        if not self.affine_rate:
            return self.vectors
        return (1 + self.affine_rate * self.scale) * self.vectors + self.affine_rate * self.shift

    @property
    def vectors(self) -> Tensor:
        """The vectors of all codes before they are scaled and shifted (C, D)."""
        return self.learnt + self.moved

    def forward(self, z_PD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return each point's nearest code (P), its vector (P, D), and how far it is (P).

        Gradients go straight through the vector to the point, and to the code with the weight ν.
        In training the codebook follows the points. A tuple, since ZeRO 3 finds no tensors in
        anything else, and would not gather the codebook for the backward pass.
        """
        z = z_PD.float()
        if self.training and int(self.steps) == 0:
            self._move(torch.arange(len(self.learnt), device=z.device), k_means(z, self.learnt))
        code = nearest(z, self.codebook)
        vector = self.codebook.float()[code]
        if self.training:
            self._follow(z.detach(), code)
        to_point = (z - vector.detach()).square().mean(-1)
        to_code = (z.detach() - vector).square().mean(-1)
        through = z + (vector - z).detach() + self.sync * (vector - vector.detach())
        commitment = (1 - self.beta) * to_point + self.beta * to_code
        return code, through.to(z_PD.dtype), commitment

    @torch.no_grad()
    def _follow(self, z: Tensor, code: Tensor) -> None:
        """Count which codes are used, and now and then move those long unused."""
        here = torch.bincount(code, minlength=len(self.idle))
        counts = self.collectives.all_reduce_sum(here)
        self.idle.copy_(torch.where(counts > 0, 0, self.idle + 1))
        self.steps += 1
        if int(self.steps) % self.replacement_steps:
            return
        dead = (self.idle >= self.replacement_steps).nonzero().squeeze(1)
        self._move(dead, drawn(z, len(dead)))
        self.idle[dead] = 0

    @torch.no_grad()
    def _move(self, codes: Tensor, to: Tensor) -> None:
        """Move `codes` (M) to the places `to` (M, D) that the first process found."""
        to = self.collectives.broadcast(to)
        if self.affine_rate:
            scale, shift = (self.affine_rate * each.float() for each in (self.scale, self.shift))
            to = (to - shift) / (1 + scale)
        moved = to - self.learnt[codes].float()
        self.moved[codes] = moved.to(self.moved.dtype)


def nearest(z_PD: Tensor, codebook_CD: Tensor) -> Tensor:
    """Return the nearest code of each point (P), by Euclidean distance, in single precision."""
    codebook = codebook_CD.detach().float()
    half_square = codebook.square().sum(1) / 2
    rows = max(1, AT_ONCE // len(codebook))
    parts = z_PD.detach().float().split(rows)
    return torch.cat([(half_square - part @ codebook.T).argmin(1) for part in parts])


def drawn(z_PD: Tensor, count: int) -> Tensor:
    """Return `count` places (count, D) at points drawn at random, a little beside each."""
    rows = torch.randint(len(z_PD), (count,), device=z_PD.device)
    noise = torch.randn(count, z_PD.shape[1], device=z_PD.device)
    return z_PD[rows] + SPREAD * z_PD.std(0) * noise


@torch.no_grad()
def k_means(z_PD: Tensor, codebook_CD: Tensor) -> Tensor:
    """Return as many centres of the points as there are codes (C, D), by Lloyd's iteration.

    They start at points drawn without repetition while there are enough; a centre of no point
    stays.
    """
    codes, points = len(codebook_CD), len(z_PD)
    z = z_PD.detach().float()
    rows = torch.randperm(points, device=z.device)[:codes]
    centres = torch.cat([z[rows], drawn(z, max(0, codes - points))])
    for _ in range(LLOYD_STEPS):
        code = nearest(z, centres)
        count = torch.bincount(code, minlength=codes).unsqueeze(1)
        total = torch.zeros_like(centres).index_add_(0, code, z)
        centres = torch.where(count > 0, total / count.clamp(min=1), centres)
    return centres
