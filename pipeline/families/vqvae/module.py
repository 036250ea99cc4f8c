"""VQ-VAEs of constituents: of each by itself, or in its jet (arXiv:2403.05618, §3.1).

Axes: P constituents of all jets of a batch, packed · W width · D latent numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.data.store import Store
from pipeline.families.tokenizer import FEATURES
from pipeline.families.vqvae.spec import VQVAE, VQVAEMLP
from pipeline.nn.batch import Batch
from pipeline.nn.collectives import Collective
from pipeline.nn.lengths import Lengths
from pipeline.nn.quantiser import Quantiser
from pipeline.nn.transformer import Block, Style


@dataclass(frozen=True)
class Reconstructed:
    """The features after their way through a code (P, 3), and its price (P).

    Where padding counts, `padding` (2) is the squared error and the price of one place without a
    constituent, and `padded_to` the places of a jet.
    """

    features: Tensor
    commitment: Tensor
    padding: Tensor | None = None
    padded_to: int = 0


class Perceptron(nn.Module):
    """Linear layers with ReLU, the same for every constituent."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))

    def forward(self, x: Tensor, lengths: Lengths) -> Tensor:
        """Return (P, outputs) of x (P, inputs)."""
        x = x.to(next(self.parameters()).dtype)
        for layer in list(self.layers)[:-1]:
            x = nn.functional.relu(layer(x))
        y: Tensor = self.layers[-1](x)
        return y


class Transformer(nn.Module):
    """NormFormer blocks over the constituents of each jet, all of which see each other.

    At first each block hands on what it is given, as in the published code: the norm before its
    attention and the last layer of its feed-forward begin at zero.
    """

    def __init__(self, inputs: int, style: Style, blocks: int, outputs: int) -> None:
        super().__init__()
        self.entry = nn.Linear(inputs, style.width)
        made = [Block(style) for _ in range(blocks)]
        self.blocks = nn.ModuleList(made)
        self.exit = nn.Linear(style.width, outputs)
        for block in made:
            for parameter in (*block.norms[0].parameters(), *block.feed_forward.down.parameters()):
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor, lengths: Lengths) -> Tensor:
        """Return (P, outputs) of x (P, inputs)."""
        hidden = self.entry(x.to(self.entry.weight.dtype))
        for block in self.blocks:
            hidden = block(hidden, lengths)
        y: Tensor = self.exit(hidden)
        return y


class QuantisedAutoencoder(Collective):
    """Encoder, quantiser and decoder; a tokenizer, since it encodes and decodes."""

    def __init__(
        self,
        encoder: nn.Module,
        quantiser: Quantiser,
        decoder: nn.Module,
        *,
        padded_to: int = 0,
    ) -> None:
        super().__init__()
        self.encoder, self.quantiser, self.decoder = encoder, quantiser, decoder
        self.padded_to = padded_to

    @torch.no_grad()
    def prepare(self, batches: Sequence[Batch]) -> None:
        """Put the codes among the latent numbers of the first batch."""
        if self.training and self.quantiser.is_fresh:
            latent = [self.encoder(each.points, each.lengths) for each in batches]
            self.quantiser.begin(torch.cat(latent), batches)

    def forward(self, batch: Batch) -> Reconstructed:
        """Return what is left of the features after encoding and decoding."""
        if not self.is_stepped:
            self.prepare([batch])
        lengths = batch.lengths
        latent = self.encoder(batch.points, lengths)
        if not self.padded_to:
            _, latent, commitment = self.quantiser(latent, batch)
            return Reconstructed(self.decoder(latent, lengths), commitment)
        _, latent, commitment = self.quantiser(torch.cat([latent, self._padding(latent)]), batch)
        squared = latent.new_zeros(())
        if isinstance(self.decoder, Perceptron):  # the transformer's is masked, so it has no error
            squared = self.decoder(latent[-1:], lengths).float().square().mean()
        padding = torch.stack([squared, commitment[-1]])
        features = self.decoder(latent[:-1], lengths)
        return Reconstructed(features, commitment[:-1], padding, self.padded_to)

    def _padding(self, latent: Tensor) -> Tensor:
        """Return the latent numbers (1, D) of a place without a constituent."""
        if isinstance(self.encoder, Perceptron):
            nothing = latent.new_zeros(1, len(FEATURES))
            found: Tensor = self.encoder(nothing, Lengths.equal(1, 1, latent.device))
            return found
        return latent.new_zeros(1, latent.shape[1])

    @torch.no_grad()
    def encode(self, features: Tensor, offsets: Tensor) -> Tensor:
        """Return the code (P) of each constituent of features (P, 3), in jets cut at `offsets`."""
        code: Tensor = self.quantiser(self.encoder(features, Lengths.of(offsets)))[0]
        return code

    @torch.no_grad()
    def decode(self, codes: Tensor, offsets: Tensor) -> Tensor:
        """Return the features (P, 3) that the codes (P) of jets cut at `offsets` stand for."""
        features: Tensor = self.decoder(self.quantiser.codebook[codes], Lengths.of(offsets))
        return features


def build(model: VQVAE | VQVAEMLP, store: Store | None) -> QuantisedAutoencoder:
    """Return the module; nothing of the store decides its shape."""
    quantiser = Quantiser(
        model.codes,
        model.latent,
        beta=model.beta,
        sync=model.sync,
        replacement_steps=model.replacement_steps,
        affine_rate=model.affine_rate,
    )
    features, width = len(FEATURES), model.hidden_width
    encoder: nn.Module
    decoder: nn.Module
    if isinstance(model, VQVAEMLP):
        middle = [width] * model.layers
        encoder = Perceptron([features, *middle, model.latent])
        decoder = Perceptron([model.latent, *middle, features])
    else:
        style = Style(
            width,
            model.heads,
            width,
            norm="normformer",
            activation="silu",
            dropout_inside=model.dropout,
            initial="multihead",
        )
        encoder = Transformer(features, style, model.blocks, model.latent)
        decoder = Transformer(model.latent, style, model.blocks, features)
    padded_to = model.padded_to if model.padding == "counted" else 0
    return QuantisedAutoencoder(encoder, quantiser, decoder, padded_to=padded_to)
