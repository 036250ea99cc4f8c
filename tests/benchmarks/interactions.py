"""Attention with a bias learned from all pairs of a jet: over packed pairs against padded ones.

The biases are Particle Transformer's (arXiv:2202.03772): four features of a pair through layers of
64 to one number a head, shared by all blocks; forward and backward of it and of three blocks'
attention. Both sides have the same weights. Jets have as many particles as JetClass's, at most 128,
to which the plain way pads them.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.families.part.module import PairEmbedding
from pipeline.families.part.spec import ParT
from pipeline.nn.attention import Bias, attend
from pipeline.nn.interactions import jets as features
from pipeline.nn.lengths import Lengths
from tests.benchmarks import samples
from tests.benchmarks.contest import Contest, Line, weighed
from tests.benchmarks.graphs import memory

MOST, HEADS, CHANNELS, BLOCKS = 128, 8, 16, 3
PLAIN = "padded to 128, all pairs"
TO_LONGEST = "padded to the longest, half of the pairs"


def contests(*, jets: int) -> Iterator[Contest | Line]:
    """Yield the contest of time, and that of memory."""
    made = samples.jets(jets)
    sizes, momenta = made.sizes.tolist(), torch.from_numpy(made.points[:, :4].copy()).float()
    work = Work(sizes, momenta)
    ways = {
        PLAIN: lambda: work.padded(MOST, half=False),
        TO_LONGEST: lambda: work.padded(max(sizes), half=True),
    }
    yield Contest(
        what="pairwise attention, forward and backward",
        amount=jets,
        unit="jets",
        ours=work.packed,
        others=ways,
    )
    needed = memory(work.packed)
    for name, way in ways.items():
        yield weighed("pairwise attention, memory", needed, name, memory(way))


class Work:
    """What both sides do, on jets of `sizes` with momenta (P, 4)."""

    def __init__(self, sizes: list[int], momenta: Tensor) -> None:
        torch.manual_seed(1)
        self.sizes, self.momenta = sizes, momenta
        self.model = ParT(inputs="kin", norm="layer", heads=HEADS)
        self.embedding = PairEmbedding(self.model)
        self.offsets = torch.tensor([0, *sizes]).cumsum(0)
        shape = (len(momenta), 3, HEADS, CHANNELS)
        self.qkv = torch.randn(shape, requires_grad=True)

    def packed(self) -> Tensor:
        """Return what is seen after all blocks (P, H, D), slopes made; nothing is padded."""
        lengths = Lengths.of(self.offsets)
        columns = len(self.model.columns)
        points = torch.zeros(len(self.momenta), columns)
        points[:, self.embedding.columns] = self.momenta
        bias = self.embedding(points, lengths)
        return self._learned(attended(self.qkv, lengths, bias))

    def padded(self, length: int, *, half: bool) -> Tensor:
        """Return the same of jets that are padded to `length`, by dense tensors."""
        momenta, real = dense(self.momenta, self.sizes, length)
        bias = dense_bias(self.embedding.net, momenta, half=half)
        bias = bias.masked_fill(~real[:, None, None, :], -torch.inf)
        q, k, v = (x.transpose(1, 2) for x in dense(self.qkv, self.sizes, length)[0].unbind(2))
        for _ in range(BLOCKS):
            q = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self._learned(q.transpose(1, 2)[real])

    def _learned(self, seen: Tensor) -> Tensor:
        self.qkv.grad = None
        self.embedding.zero_grad()
        seen.square().mean().backward()
        return seen.detach()


def attended(qkv: Tensor, lengths: Lengths, bias: Bias) -> Tensor:
    """Return what is seen (P, H, D) when what a block gives is the next one's query."""
    q, k, v = qkv.unbind(1)
    for _ in range(BLOCKS):
        q = attend(q, k, v, lengths, bias=bias)
    return q


def dense(packed: Tensor, sizes: list[int], length: int) -> tuple[Tensor, Tensor]:
    """Return (B, L, ...) padded with zeros, and which are real (B, L)."""
    real = torch.arange(length) < torch.tensor(sizes).unsqueeze(1)
    made = packed.new_zeros(len(sizes), length, *packed.shape[1:])
    return made.masked_scatter(real.view(*real.shape, *[1] * (packed.dim() - 1)), packed), real


def dense_bias(net: nn.Module, momenta: Tensor, *, half: bool) -> Tensor:
    """Return the biases (B, H, L, L) of momenta (B, L, 4); of `half` of the pairs, and mirrored."""
    length = momenta.shape[1]
    if not half:
        told = features(momenta.unsqueeze(2), momenta.unsqueeze(1))
        found: Tensor = net(told)
        return found.permute(0, 3, 1, 2)
    row, column = torch.tril_indices(length, length)
    values = net(features(momenta[:, row], momenta[:, column]))
    found = values.new_zeros(len(momenta), length, length, HEADS)
    found = found.index_put((slice_of(momenta), row, column), values)
    found = found.index_put((slice_of(momenta), column, row), values)
    return found.permute(0, 3, 1, 2)


def slice_of(momenta: Tensor) -> Tensor:
    """Return the number of each jet, as an index that goes with those of pairs."""
    return torch.arange(len(momenta)).unsqueeze(1)
