"""A transformer over packed events against PyTorch's own layers over padded ones.

Both have OmniJet-alpha's size (arXiv 2403.05618): 3 post-norm blocks of width 256 with 8 heads and
ReLU; single precision, without embedding and head, which would be the same on both sides.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from pipeline.nn.lengths import Lengths
from pipeline.nn.transformer import Block, Style
from tests.benchmarks.attention import lengths_of
from tests.benchmarks.contest import Contest, Work

STYLE = Style(width=256, heads=8, inner=1024, norm="post", activation="relu")
BLOCKS = 3
MASKS = "nn.TransformerEncoder, padded"
CAUSAL = "the same without the padding's mask"
PRODUCTS = "torch.matmul of the layers' products"
Loss = Callable[[], Tensor]


class Packed(nn.Module):
    """Our blocks over packed tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(STYLE) for _ in range(BLOCKS))

    def forward(self, x: Tensor, lengths: Lengths, *, causal: bool) -> Tensor:
        for layer in self.layers:
            x = layer(x, lengths, causal=causal)
        return x


def plain() -> nn.TransformerEncoder:
    """Return the same model of PyTorch's layers."""
    layer = nn.TransformerEncoderLayer(
        STYLE.width, STYLE.heads, STYLE.inner, dropout=0.0, activation="relu", batch_first=True
    )
    return nn.TransformerEncoder(layer, BLOCKS, enable_nested_tensor=False)


def contests(*, jets: int, events: int) -> Iterator[Contest]:
    """Yield forward and backward of an encoder, and training steps of a causal transformer."""
    sizes = lengths_of(jets=jets, events=events)
    for what in ("jets", "TPC"):
        yield encoder(what, sizes[what])
    for what in ("jets", "TPC"):
        yield training(what, sizes[what])


def encoder(what: str, sizes: list[int]) -> Contest:
    """Return the contest of forward and backward, where every token sees its whole event."""
    x = tokens(sizes)
    ours, theirs = packed_loss(Packed(), x, sizes), padded_loss(plain(), x, sizes)
    return Contest(
        what=f"transformer, forward and backward, {what}",
        amount=sum(sizes),
        unit="tokens",
        ours=lambda: ours().backward(),
        others={MASKS: lambda: theirs().backward()},
        aims={MASKS: 1},
    )


def training(what: str, sizes: list[int]) -> Contest:
    """Return the contest of a causal step: forward, backward and AdamW."""
    x = tokens(sizes)
    models = Packed(), plain(), plain()
    ours = packed_loss(models[0], x, sizes, causal=True)
    masked = padded_loss(models[1], x, sizes, causal=True)
    bare = padded_loss(models[2], x, sizes, causal=True, mask=False)
    return Contest(
        what=f"transformer, causal training step, {what}",
        amount=sum(sizes),
        unit="tokens",
        ours=step(models[0], ours),
        others={
            MASKS: step(models[1], masked),
            CAUSAL: step(models[2], bare),
            PRODUCTS: lambda: products(x),
        },
        limits=frozenset({PRODUCTS}),
        aims={MASKS: 1, CAUSAL: 1},
    )


def tokens(sizes: list[int]) -> Tensor:
    """Return random tokens (P, W), the same every time."""
    made = torch.Generator().manual_seed(1)
    return torch.randn(sum(sizes), STYLE.width, generator=made)


def packed_loss(model: Packed, x: Tensor, sizes: list[int], *, causal: bool = False) -> Loss:
    """Return the mean square of what the model makes of packed tokens."""
    lengths = Lengths.of(torch.tensor([0, *sizes]).cumsum(0))
    return lambda: model(x, lengths, causal=causal).square().mean()


def padded_loss(
    model: nn.TransformerEncoder,
    x: Tensor,
    sizes: list[int],
    *,
    causal: bool = False,
    mask: bool = True,
) -> Loss:
    """Return the same of tokens that lie padded, before the clock starts, to the longest event.

    Under a causal mask the padding, which comes last, needs no `mask` of its own.
    """
    padded = nn.utils.rnn.pad_sequence(x.split(sizes), batch_first=True)
    real = torch.arange(padded.shape[1]) < torch.tensor(sizes)[:, None]
    later = torch.ones(2 * padded.shape[1:2], dtype=torch.bool).triu(1) if causal else None

    def loss() -> Tensor:
        y = model(
            padded,
            mask=later,
            src_key_padding_mask=~real if mask else None,
            is_causal=causal,
        )
        return y[real].square().mean()

    return loss


def products(x: Tensor) -> None:
    """Multiply as much as the linear layers of a training step do, and nothing else."""
    weight = torch.zeros(STYLE.width, 4 * STYLE.width + 2 * STYLE.inner)
    for _ in range(3 * BLOCKS):  # forward, and twice that backward
        x @ weight


def step(model: nn.Module, loss: Loss) -> Work:
    """Return a training step with AdamW."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def work() -> None:
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()

    return work
