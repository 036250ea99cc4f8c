"""The vector quantiser of a VQ-VAE: a codebook that follows where its inputs are.

van den Oord et al., arXiv:1711.00937; the synchronised update and the trade-off β are those of Huh
et al., arXiv:2305.08842. Axes: P points, packed · D latent numbers · C codes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.nn import draws
from pipeline.nn.batch import Batch
from pipeline.nn.collectives import Collective
from pipeline.nn.k_means import Sample, k_means, nearest


class Quantiser(Collective):
    """A codebook: learnt vectors, and beside them where codes were moved to.

    What moves without a gradient, by k-means at the first batch and from dead codes later, is kept
    in a buffer: an optimiser with copies of the parameters (ZeRO, half precision) would undo it.
    Before the first batch the codes are as drawn. Steps are those of the training: a code is dead
    that no point of `replacement_steps` global batches was next to.

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
        self._used: Tensor | None = None  # how many points of this step each code has (C)
        self._sample: Sample | None = None  # of the points of this step
        self._batch: Batch | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether the codes are as they were drawn."""
        return not self.is_set("steps")

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

    def begin(self, z_PD: Tensor, batches: Sequence[Batch]) -> None:
        """Put the codes among the points (P, D) of `batches` of all processes; all call."""
        found = k_means(z_PD, batches, len(self.idle), self.collectives)
        self._move(torch.arange(len(found), device=found.device), found)

    def forward(self, z_PD: Tensor, batch: Batch | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return each point's nearest code (P), its vector (P, D), and how far it is (P).

        Gradients go straight through the vector to the point, and to the code with the weight ν.
        In training the codebook follows the points of `batch`, which come first; what is behind
        them is padding. A tuple, since ZeRO 3 finds no tensors in anything else, and would not
        gather the codebook for the backward pass.
        """
        z = z_PD.float()
        code = nearest(z, self.codebook)
        vector = self.codebook.float()[code]
        if self.training and batch is not None:
            self._follow(z.detach(), code, batch)
        to_point = (z - vector.detach()).square().mean(-1)
        to_code = (z.detach() - vector).square().mean(-1)
        through = z + (vector - z).detach() + self.sync * (vector - vector.detach())
        commitment = (1 - self.beta) * to_point + self.beta * to_code
        return code, through.to(z_PD.dtype), commitment

    @torch.no_grad()
    def _follow(self, z: Tensor, code: Tensor, batch: Batch) -> None:
        """Count which codes are used, and remember some points where codes may be moved to."""
        used = torch.zeros_like(self.idle).index_add(0, code, torch.ones_like(code))
        self._used = used if self._used is None else self._used + used
        self._batch = batch
        if self._is_due and self.counts and not self.computes_again:
            points = z[: len(batch.points)]
            here = Sample.of(len(self.idle), points, draws.lots(batch, "quantiser"))
            self._sample = here if self._sample is None else self._sample.with_other(here)
        if not self.is_stepped:
            self.conclude()

    @property
    def _is_due(self) -> bool:
        """Whether dead codes are moved at the end of this step."""
        return (self._number + 1) % self.replacement_steps == 0

    @property
    def _number(self) -> int:
        """The number of steps that were concluded; it is read from the device once."""
        if "number" not in self._known:
            self._known["number"] = int(self.steps)
        return self._known["number"]

    @torch.no_grad()
    def conclude(self) -> None:
        """Count the step, and now and then move the codes long unused to points of its batch."""
        if self._used is None or self._batch is None:
            return
        counts = self.collectives.all_reduce_sum(self._used)
        self.idle.copy_(torch.where(counts > 0, 0, self.idle + 1))
        number = self._number
        if self._is_due:
            self._replace(self._batch)
        self.steps += 1
        self._known["number"] = number + 1
        self._used = self._sample = self._batch = None

    def _replace(self, batch: Batch) -> None:
        """Move the codes long unused to points of this step, whose first `batch` this is."""
        dead = (self.idle >= self.replacement_steps).nonzero().squeeze(1)
        if not len(dead):
            return
        assert self._sample is not None, "each process has an event of every batch"
        sample = self._sample.of_all(self.collectives)
        to = sample.places(len(dead), batch, self._number, beside=True)
        self._move(dead, self.collectives.broadcast(to))
        self.idle[dead] = 0

    @torch.no_grad()
    def _move(self, codes: Tensor, to: Tensor) -> None:
        """Move `codes` (M) to the places `to` (M, D)."""
        with self.collectives.whole(self):
            if self.affine_rate:
                rate = self.affine_rate
                scale, shift = (rate * each.float() for each in (self.scale, self.shift))
                to = (to - shift) / (1 + scale)
            moved = to - self.learnt[codes].float()
            self.moved[codes] = moved.to(self.moved.dtype)
