"""The VQ-VAE of masked particle modelling: its codes are what `mpm` learns.

Golling et al., arXiv:2401.13537; the function is that of github.com/rodem-hep/mpm at c6ba855 and of
github.com/minyoungg/vqtorch at 02e60a1 (MIT).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from pipeline.families.family import Family, Parameters
from pipeline.families.mpm.spec import HELD, SOURCE, encoder, encoder_products
from pipeline.families.tokenizer import FEATURES, Tokenizer


class MPMVQVAE(Tokenizer):
    """A codebook of `codes` vectors of `latent` numbers between two encoders like that of MPM.

    Reads Δη, Δφ and ln(pT + 1), normalised by the mean and variance of the constituents of the
    training, which no longer change after `normaliser_points` of them. The loss is the absolute
    error of the normalised features, and 10 times how far encoder and codebook are apart, of which
    the share `beta` moves the codebook; `sync`, `affine_rate` and `replacement_steps` are those of
    family "vqvae". `dropout` is of the weights of attention.

    `labels` "codes" are the nearest codes. "raw" are those that the authors' MPM learns: of each
    code the nearest to it among vectors without scale and shift. The two differ once these are
    learnt, and "raw" gives several codes one label.
    """

    TITLE: ClassVar[str] = "VQ-VAE of a constituent in its jet, as MPM has it"
    SOURCE: ClassVar[str] = SOURCE
    HELD_TO: ClassVar[str] = HELD
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {"c512": {"codes": 512}}
    OBJECTIVES: ClassVar[tuple[str, ...]] = (
        "reconstruction",
        "commitment",
        "commitment_per_jet",
    )
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"reconstruction": 1.0, "commitment": 10.0}
    NOT_SHAPES: ClassVar[frozenset[str]] = Family.NOT_SHAPES | {
        "beta",
        "sync",
        "replacement_steps",
        "labels",
        "normaliser_points",
    }

    family: Literal["mpm-vqvae"] = "mpm-vqvae"
    codes: PositiveInt
    latent: PositiveInt = 6
    width: PositiveInt = 256
    inner: PositiveInt = 256
    heads: PositiveInt = 8
    layers: PositiveInt = 4
    beta: float = Field(default=0.9, ge=0, le=1)
    sync: NonNegativeFloat = 2.0
    affine_rate: NonNegativeFloat = 2.0
    replacement_steps: PositiveInt = 10
    labels: Literal["codes", "raw"] = "codes"
    normaliser_points: PositiveInt = 100_000
    dropout: NonNegativeFloat = 0.1

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        """Check that the heads share the width evenly."""
        if self.width % self.heads:
            message = f"width {self.width} is no multiple of {self.heads} heads"
            raise ValueError(message)
        return self

    @property
    def _codebook(self) -> int:
        """The count of the codes, and of their scale and shift."""
        return (self.codes + (2 if self.affine_rate else 0)) * self.latent

    def parameters(self) -> Parameters:
        """Return the count of codebook, encoder and decoder."""
        sides = ((len(FEATURES), self.latent), (self.latent, len(FEATURES)))
        shape = self.width, self.inner, self.layers
        return Parameters(self._codebook + sum(encoder(a, *shape, b, norm=False) for a, b in sides))

    def flops_per_token(self, tokens: float) -> float:
        """Return 6 FLOPs a multiply-add, and 2 for each number of the codebook in the search."""
        shape = self.width, self.inner, self.layers
        features = len(FEATURES)
        products = encoder_products(features, *shape, self.latent, tokens)
        products += encoder_products(self.latent, *shape, features, tokens)
        return 6.0 * products + 2.0 * self.codes * self.latent
