"""VQ-VAE tokenizers: a learned codebook between an encoder and a decoder of constituents."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from pipeline.families.family import Family, Parameters, linear
from pipeline.families.tokenizer import FEATURES, MOST_CONSTITUENTS, Padding, Tokenizer


class LearnedTokenizer(Tokenizer):
    """A codebook of `codes` vectors of `latent` numbers, between an encoder and a decoder.

    The loss is the mean squared error of the features, and 10 times how far encoder and codebook
    are apart, of which the share `beta` moves the codebook and the rest the encoder (van den Oord
    et al., arXiv:1711.00937, eq. 3, in the trade-off of Huh et al., arXiv:2305.08842). `sync` is ν
    of the latter's synchronised update: how much the codebook learns from the features too. A code
    that no constituent took in `replacement_steps` steps moves to where constituents are. The
    codes are learnt vectors scaled and shifted along each latent number by 1 + `affine_rate` · s
    and `affine_rate` · b, both learnt (ibid., §4.1); 0 leaves that out.

    The published losses are means over all places of jets padded to `padded_to`: that is `padding`
    "counted". "left_out" takes a mean over each jet's constituents, then over jets.
    """

    OBJECTIVES: ClassVar[tuple[str, ...]] = ("reconstruction", "commitment")
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"reconstruction": 1.0, "commitment": 10.0}
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        f"c{codes}": {"codes": codes} for codes in (512, 2048, 4096, 8192, 16_384, 32_768)
    }
    NOT_SHAPES: ClassVar[frozenset[str]] = Family.NOT_SHAPES | {
        "beta",
        "sync",
        "replacement_steps",
        "padding",
        "padded_to",
    }

    codes: PositiveInt
    hidden_width: PositiveInt = 128
    latent: PositiveInt = 4
    beta: float = Field(default=0.9, ge=0, le=1)
    sync: NonNegativeFloat = 1.0
    replacement_steps: PositiveInt = 10
    affine_rate: NonNegativeFloat = 2.0
    padding: Padding = "left_out"
    padded_to: PositiveInt = MOST_CONSTITUENTS

    @property
    def _codebook(self) -> int:
        """The count of the codes, and of their scale and shift."""
        return (self.codes + (2 if self.affine_rate else 0)) * self.latent


class VQVAEMLP(LearnedTokenizer):
    """Unconditional: a code depends on its constituent alone, by multilayer perceptrons."""

    TITLE: ClassVar[str] = "VQ-VAE of each constituent by itself"
    HELD_TO: ClassVar[str] = "the outputs of OmniJet-alpha at 1c8d442 within 5e-7"
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
        return Parameters(encoder + middle + decoder + self._codebook)

    def flops_per_token(self, tokens: float) -> float:
        """Return 6 FLOPs a weight, and 2 for each number of the codebook in the search."""
        weights = self.parameters().trained - self._codebook
        return 6.0 * weights + 2.0 * self.codes * self.latent


class VQVAE(LearnedTokenizer):
    """Conditional: encoder and decoder are transformers over the constituents of the jet.

    `dropout` is of the weights of attention and of the inner channels of the feed-forward.
    """

    TITLE: ClassVar[str] = "VQ-VAE of a constituent in its jet"
    HELD_TO: ClassVar[str] = "the outputs of OmniJet-alpha at 1c8d442 within 5e-7"
    SOURCE: ClassVar[str] = (
        "arXiv:2403.05618, §3.1: conditional tokens; NormFormer, 128 wide, 4 + 4 blocks, latent 4"
    )

    family: Literal["vqvae"] = "vqvae"
    blocks: PositiveInt = 4
    heads: PositiveInt = 8
    dropout: NonNegativeFloat = 0.1

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
        return Parameters(ends + 2 * self.blocks * self._block() + self._codebook)

    def flops_per_token(self, tokens: float) -> float:
        """Return 6 FLOPs a weight, those of attention, and 2 for each number of the codebook."""
        weights = self.parameters().trained - self._codebook
        attention = 2 * self.blocks * 2 * self.hidden_width * tokens
        return 6.0 * (weights + attention) + 2.0 * self.codes * self.latent
