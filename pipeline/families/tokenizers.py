"""Tokenizers of jets: from the three features of a constituent to one of `codes` codes, and back.

OmniJet-alpha (Birk, Hallin, Kasieczka, arXiv:2403.05618, §3.1): bins, a VQ-VAE of each constituent
by itself, and a VQ-VAE conditioned on the whole jet. A tokenizer is declared like a model; its
product is a store of tokens. Axes: W width of a hidden layer, D latent numbers.
"""

from collections.abc import Mapping
from math import prod
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from pipeline.families.family import Family, Parameters, Reads, linear

FEATURES = ("log_pt", "deta", "dphi")
MOST_CONSTITUENTS = 128
Range = tuple[float, float]


class _Tokenizer(Family):
    """What all tokenizers share: they take the three features of at most 128 constituents."""

    TOKENS: ClassVar[float] = 40  # about the constituents of a jet of JetClass
    OBJECTIVES: ClassVar[Mapping[str, str]] = {}
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {}

    def reads(self) -> Reads:
        """Return the three features, of jets that were cut to 128 constituents."""
        return Reads(FEATURES, most_points=MOST_CONSTITUENTS)


class Binning(_Tokenizer):
    """Equal bins of each feature between `ranges`; a code is the place in the grid of all three.

    `spacing` "equal": `bins` cells of one width, each stands for its middle. "linspace": `bins`
    values from one end to the other, both included, each stands for itself. What lies beyond a
    range counts as its end. Ranges are of the normalised features: ln(pT / GeV) - 1.8, 3 Δη, 3 Δφ.
    """

    TITLE: ClassVar[str] = "bins of each feature of a constituent"
    SOURCE: ClassVar[str] = "arXiv:2403.05618, §3.1: binned tokens"
    MODULE: ClassVar[str] = "pipeline.training.models.binning:build"

    family: Literal["binning"] = "binning"
    bins: tuple[PositiveInt, PositiveInt, PositiveInt]
    ranges: tuple[Range, Range, Range] = ((-4.2, 5.2), (-2.4, 2.4), (-2.4, 2.4))
    spacing: Literal["equal", "linspace"] = "equal"

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        """Check that each range goes up, and that linspace has both its ends."""
        for name, (low, high), count in zip(FEATURES, self.ranges, self.bins, strict=True):
            if low >= high:
                message = f"ranges: that of {name}, {low} to {high}, does not go up"
                raise ValueError(message)
            if self.spacing == "linspace" and count < 2:
                message = f"bins: {count} of {name}; linspace has two ends, so 2 or more"
                raise ValueError(message)
        return self

    @property
    def codes(self) -> int:
        """The number of cells of the grid."""
        return prod(self.bins)

    def parameters(self) -> Parameters:
        """Return none: nothing is learnt."""
        return Parameters(0)

    def flops_per_token(self, tokens: float) -> float:  # noqa: ARG002
        """Return zero: nothing is trained."""
        return 0.0


class _Learned(_Tokenizer):
    """A codebook of `codes` vectors of `latent` numbers, between an encoder and a decoder.

    The loss is the mean squared error of the features, and 10 times how far encoder and codebook
    are apart, of which the share `beta` moves the codebook and the rest the encoder (van den Oord
    et al., arXiv:1711.00937, eq. 3, in the trade-off of Huh et al., arXiv:2305.08842). `sync` is ν
    of the latter's synchronised update: how much the codebook learns from the features too. A code
    that no constituent took in `replace_every` steps moves to where constituents are.
    """

    OBJECTIVES: ClassVar[Mapping[str, str]] = {
        "reconstruction": "pipeline.training.objectives.tokens:reconstruction",
        "commitment": "pipeline.training.objectives.tokens:commitment",
    }
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"reconstruction": 1.0, "commitment": 10.0}
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        f"c{codes}": {"codes": codes} for codes in (512, 2048, 4096, 8192, 16_384, 32_768)
    }
    NOT_SHAPES: ClassVar[frozenset[str]] = Family.NOT_SHAPES | {"beta", "sync", "replace_every"}
    MODULE: ClassVar[str] = "pipeline.training.models.vqvae:build"

    codes: PositiveInt
    hidden_width: PositiveInt = 128
    latent: PositiveInt = 4
    beta: float = Field(default=0.9, ge=0, le=1)
    sync: NonNegativeFloat = 1.0
    replace_every: PositiveInt = 10


class VQVAEMLP(_Learned):
    """Unconditional: a code depends on its constituent alone, by multilayer perceptrons."""

    TITLE: ClassVar[str] = "VQ-VAE of each constituent by itself"
    SOURCE: ClassVar[str] = (
        "arXiv:2403.05618, §3.1: unconditional tokens, 3 layers of 128, latent 4"
    )

    family: Literal["vqvae-mlp"] = "vqvae-mlp"
    layers: PositiveInt = 3

    def parameters(self) -> Parameters:
        """Return the count of codebook, encoder and decoder."""
        width, latent = self.hidden_width, self.latent
        middle = 2 * (self.layers - 1) * linear(width, width)
        encoder = linear(len(FEATURES), width) + linear(width, latent)
        decoder = linear(latent, width) + linear(width, len(FEATURES))
        return Parameters(encoder + middle + decoder + self.codes * latent)

    def flops_per_token(self, tokens: float) -> float:  # noqa: ARG002
        """Return 6 FLOPs a weight, and 2 for each number of the codebook in the search."""
        weights = self.parameters().trained - self.codes * self.latent
        return 6.0 * weights + 2.0 * self.codes * self.latent


class VQVAE(_Learned):
    """Conditional: encoder and decoder are transformers over the constituents of the jet."""

    TITLE: ClassVar[str] = "VQ-VAE of a constituent in its jet"
    SOURCE: ClassVar[str] = (
        "arXiv:2403.05618, §3.1: conditional tokens; NormFormer, 128 wide, 4 + 4 blocks, latent 4"
    )

    family: Literal["vqvae"] = "vqvae"
    blocks: PositiveInt = 4
    heads: PositiveInt = 8

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        """Check that the heads share the width evenly."""
        if self.hidden_width % self.heads:
            message = f"hidden_width {self.hidden_width} is no multiple of {self.heads} heads"
            raise ValueError(message)
        return self

    def _block(self) -> int:
        """Return the count of a NormFormer block: three norms, feed-forward as wide as the rest."""
        width = self.hidden_width
        return 4 * linear(width, width) + 2 * linear(width, width) + 6 * width

    def parameters(self) -> Parameters:
        """Return the count of codebook, encoder and decoder."""
        width, latent = self.hidden_width, self.latent
        ends = linear(len(FEATURES), width) + linear(width, latent)
        ends += linear(latent, width) + linear(width, len(FEATURES))
        return Parameters(ends + 2 * self.blocks * self._block() + self.codes * latent)

    def flops_per_token(self, tokens: float) -> float:
        """Return 6 FLOPs a weight, those of attention, and 2 for each number of the codebook."""
        weights = self.parameters().trained - self.codes * self.latent
        attention = 2 * self.blocks * 2 * self.hidden_width * tokens
        return 6.0 * (weights + attention) + 2.0 * self.codes * self.latent


Tokenizer = Annotated[Binning | VQVAEMLP | VQVAE, Field(discriminator="family")]

TOKENIZERS: dict[str, type[Family]] = {
    each.model_fields["family"].default: each for each in get_args(get_args(Tokenizer)[0])
}
