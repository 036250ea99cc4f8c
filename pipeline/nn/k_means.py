"""k-means over the points of a global batch, whatever the processes and micro-batches it is in.

Axes: P points, packed · D numbers of a point · C codes or centres.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.nn import draws
from pipeline.nn.batch import Batch
from pipeline.nn.collectives import Collective, Collectives

AT_ONCE = 1 << 24  # distances that are in memory together
LLOYD_STEPS = 10
SPREAD = 0.01  # how far from its point a code is put that is moved there, in deviations
NOBODY = 2**63 - 1  # the lot of a place that holds no point


@dataclass(frozen=True)
class Sample:
    """The points (≤ `count`, D) of the lowest lots, of all that were added.

    `moments` (3, D) float64: of all points, their number, and the sums of values and squares.
    """

    count: int
    points: Tensor
    lots: Tensor
    moments: Tensor

    @classmethod
    def of(cls, count: int, z_PD: Tensor, lots: Tensor) -> "Sample":
        """Return `count` points at most of z (P, D), drawn by their `lots` (P)."""
        lowest = lots.argsort()[:count]
        double = z_PD.double()
        number = torch.full_like(double[0], len(double))
        moments = torch.stack([number, double.sum(0), double.square().sum(0)])
        return cls(count, z_PD[lowest], lots[lowest], moments)

    def with_other(self, other: "Sample") -> "Sample":
        """Return the sample of the points of both."""
        points, lots = torch.cat([self.points, other.points]), torch.cat([self.lots, other.lots])
        joined = Sample.of(self.count, points, lots)
        return Sample(self.count, joined.points, joined.lots, self.moments + other.moments)

    def of_all(self, collectives: Collectives) -> "Sample":
        """Return the sample of the points of all processes, the same in each; all call."""
        missing = self.count - len(self.lots)
        lots = torch.cat([self.lots, self.lots.new_full((missing,), NOBODY)])
        empty = self.points.new_zeros(missing, self.points.shape[1])
        lots = collectives.all_gather(lots)
        points = collectives.all_gather(torch.cat([self.points, empty]))
        there = lots < NOBODY
        joined = Sample.of(self.count, points[there], lots[there])
        moments = collectives.all_reduce_sum(self.moments)
        return Sample(self.count, joined.points, joined.lots, moments)

    def places(self, count: int, batch: Batch, number: int, *, beside: bool) -> Tensor:
        """Return `count` places (count, D) at its points, which repeat if they are fewer.

        Those that repeat, or with `beside` all, are a little beside a point, by random numbers that
        follow from `number` and the seed of `batch`.
        """
        turn = torch.arange(count, device=self.lots.device)
        row = turn % len(self.lots)
        once, values, squares = self.moments
        variance = (squares - values.square() / once) / (once - 1).clamp(min=1)
        deviation = variance.clamp(min=0).sqrt().to(self.points.dtype)
        away = draws.normal(_alone(count, batch, number), "k-means", self.points.shape[1])
        moves = (turn >= len(self.lots)) | beside
        return self.points[row] + SPREAD * deviation * away * moves.unsqueeze(1)


def _alone(count: int, batch: Batch, number: int) -> Batch:
    """Return an event of `count` points by which to draw what belongs to no event of a store."""
    device = batch.points.device
    offsets, ids = torch.tensor([0, count], device=device), torch.tensor([number], device=device)
    return Batch(torch.zeros(count, 0, device=device), offsets, ids, seed=batch.seed)


def nearest(z_PD: Tensor, codebook_CD: Tensor) -> Tensor:
    """Return the nearest code of each point (P), by Euclidean distance, in single precision."""
    codebook = codebook_CD.detach().float()
    half_square = codebook.square().sum(1) / 2
    rows = max(1, AT_ONCE // len(codebook))
    parts = z_PD.detach().float().split(rows)
    return torch.cat([(half_square - part @ codebook.T).argmin(1) for part in parts])


@torch.no_grad()
def k_means(z_PD: Tensor, batches: Sequence[Batch], codes: int, collectives: Collectives) -> Tensor:
    """Return centres (C, D) of the points of all processes, by Lloyd's iteration; all call.

    z (P, D) are those of this process's `batches`. Centres start at points drawn without repetition
    while there are enough; a centre of no point stays.
    """
    z = z_PD.detach().float()
    lots = torch.cat([draws.lots(batch, "k-means") for batch in batches])
    sample = Sample.of(codes, z, lots).of_all(collectives)
    centres = sample.places(codes, batches[0], 0, beside=False)
    for _ in range(LLOYD_STEPS):
        code = nearest(z, centres)
        # In double precision: so the order of the processes' sums changes next to nothing.
        count = collectives.all_reduce_sum(torch.bincount(code, minlength=codes).double())
        total = torch.zeros_like(centres, dtype=torch.float64).index_add_(0, code, z.double())
        mean = collectives.all_reduce_sum(total) / count.clamp(min=1).unsqueeze(1)
        centres = torch.where(count.unsqueeze(1) > 0, mean.to(centres.dtype), centres)
    return collectives.broadcast(centres)


class Clusters(Collective):
    """Centres (C, D) that k-means puts among the points of the first global batch."""

    centres: Tensor
    initialised: Tensor

    def __init__(self, count: int, numbers: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.randn(count, numbers))
        self.register_buffer("initialised", torch.zeros(1))

    @property
    def is_fresh(self) -> bool:
        """Whether the centres are as they were drawn."""
        return not self.is_set("initialised")

    def begin(self, points: Tensor, batches: Sequence[Batch]) -> None:
        """Put the centres among the points (P, D) of `batches` of all processes; all call."""
        found = k_means(points, batches, len(self.centres), self.collectives)
        self.centres.copy_(found)
        self.initialised.fill_(1.0)

    def forward(self, points: Tensor) -> Tensor:
        """Return the nearest centre (P) of points (P, D)."""
        return nearest(points, self.centres)
