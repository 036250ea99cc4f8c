"""The VQ-VAE of masked particle modelling (arXiv:2401.13537).

Published function of github.com/rodem-hep/mpm at c6ba855 (MIT), from its equations. Axes: P
constituents of all jets of a batch, packed · D latent numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.data.preparation.constituents import COLUMNS
from pipeline.data.store import Store
from pipeline.families.mpm.encoder import Encoder, Normaliser, Shape
from pipeline.families.mpm_vqvae.spec import MPMVQVAE
from pipeline.families.tokenizer import FEATURES
from pipeline.nn.batch import Batch
from pipeline.nn.collectives import Collective
from pipeline.nn.k_means import nearest
from pipeline.nn.lengths import Lengths
from pipeline.nn.quantiser import Quantiser

SOFTEST = 1e-6  # ln(pT / GeV + 1) below which no logarithm of pT is taken


@dataclass(frozen=True)
class Reconstructed:
    """Normalised inputs (P, 3) behind the codebook and before it, and each point's price (P)."""

    made: Tensor
    true: Tensor
    commitment: Tensor


class Tokens(Collective):
    """Encoder, quantiser and decoder; a tokenizer, since it encodes and decodes."""

    def __init__(self, model: MPMVQVAE) -> None:
        super().__init__()
        self.labels = model.labels
        inputs = len(FEATURES)
        shape = Shape(model.width, model.inner, model.heads, model.layers, model.dropout)
        self.normaliser = Normaliser(inputs, model.normaliser_points)
        self.encoder = Encoder(inputs, shape, model.latent, norm=False)
        self.quantiser = Quantiser(
            model.codes,
            model.latent,
            beta=model.beta,
            sync=model.sync,
            replacement_steps=model.replacement_steps,
            affine_rate=model.affine_rate,
        )
        self.decoder = Encoder(model.latent, shape, inputs, norm=False)

    @torch.no_grad()
    def prepare(self, batches: Sequence[Batch]) -> None:
        """Learn the normalisation, and put codes among the latent numbers of the first batch."""
        if not self.training or self.knows_all:
            return
        inputs = [squashed(each.points) for each in batches]
        self.normaliser.learn(torch.cat(inputs))
        if self.quantiser.is_fresh:
            pairs = zip(inputs, batches, strict=True)
            latent = [self.encoder(self.normaliser(each), batch.lengths) for each, batch in pairs]
            self.quantiser.begin(torch.cat(latent), batches)

    @property
    def knows_all(self) -> bool:
        """Whether no batch teaches it more than gradients do."""
        return self.normaliser.is_frozen and not self.quantiser.is_fresh

    def forward(self, batch: Batch) -> Reconstructed:
        """Return what is left of the features after encoding and decoding."""
        if not self.is_stepped:
            self.prepare([batch])
        return self.reconstructed(squashed(batch.points), batch)

    def reconstructed(self, inputs: Tensor, batch: Batch) -> Reconstructed:
        """Return what is left of inputs (P, 3), Δη, Δφ and ln(pT + 1) of the jets of `batch`."""
        lengths, true = batch.lengths, self.normaliser(inputs)
        _, vector, commitment = self.quantiser(self.encoder(true, lengths), batch)
        return Reconstructed(self.decoder(vector, lengths), true, commitment)

    @torch.no_grad()
    def encode(self, features: Tensor, offsets: Tensor) -> Tensor:
        """Return the label (P) of each constituent of features (P, 3), in jets cut at `offsets`."""
        lengths = Lengths.of(offsets)
        latent = self.encoder(self.normaliser(squashed(features)), lengths)
        code = nearest(latent, self.quantiser.codebook)
        return code if self.labels == "codes" else self.raw(code)

    @torch.no_grad()
    def decode(self, codes: Tensor, offsets: Tensor) -> Tensor:
        """Return the features (P, 3) that the codes (P) of jets cut at `offsets` stand for."""
        made = self.decoder(self.quantiser.codebook[codes], Lengths.of(offsets))
        return unsquashed(self.normaliser.inverse(made))

    def raw(self, code: Tensor) -> Tensor:
        """Return which vector without scale and shift is next to that of each code (P)."""
        return nearest(self.quantiser.codebook[code], self.quantiser.vectors)


def squashed(features: Tensor) -> Tensor:
    """Return Δη, Δφ and ln(pT / GeV + 1) (P, 3) of features (P, 3) as all tokenizers take them."""
    log_pt, deta, dphi = (features.float() * _scale(features) + _offset(features)).unbind(1)
    return torch.stack([deta, dphi, log_pt.exp().log1p()], 1)


def unsquashed(inputs: Tensor) -> Tensor:
    """Return features (P, 3) of Δη, Δφ and ln(pT / GeV + 1) (P, 3)."""
    deta, dphi, squash = inputs.unbind(1)
    physical = torch.stack([squash.clamp(min=SOFTEST).expm1().log(), deta, dphi], 1)
    return (physical - _offset(inputs)) / _scale(inputs)


def _scale(like: Tensor) -> Tensor:
    return torch.tensor([column.scale for column in COLUMNS], device=like.device)


def _offset(like: Tensor) -> Tensor:
    return torch.tensor([column.offset for column in COLUMNS], device=like.device)


def build(model: MPMVQVAE, store: Store | None) -> Tokens:
    """Return the module; nothing of the store decides its shape."""
    return Tokens(model)
