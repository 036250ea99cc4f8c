"""MPMv2: hidden constituents of a jet, by a decoder and seven tasks.

Leigh et al., arXiv:2409.12589. No code of it is public: all here is our reading of the paper.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from pipeline.families.family import Family, Parameters, Reads, linear
from pipeline.families.jet_columns import ANGLES, IDENTITY, IMPACT, Choice
from pipeline.families.omnijet.spec import TOKEN
from pipeline.families.tokenizer import MOST_CONSTITUENTS

KINEMATICS = ("pt_log", *ANGLES)
INPUTS: dict[Choice, tuple[str, ...]] = {
    "full": (*KINEMATICS, *IDENTITY, *IMPACT),
    "kinpid": (*KINEMATICS, *IDENTITY),
    "kin": KINEMATICS,
}
IDENTITIES = ("photon", "neutral hadron", "h-", "h+", "e-", "e+", "mu-", "mu+")
TIMES = 16  # numbers that encode the time of a flow
FLOWS, FLOW_INNER, BINS = 4, 64, 8  # transforms of the normalising flow, and the bins of a spline


class MPMv2(Family):
    """An encoder, a decoder, and a head for each objective.

    The encoder sees what is not masked, and `registers` beside it; the decoder puts mask tokens
    between (as arXiv:2111.06377 does with images), each of which knows the rank of its constituent
    in pT. `masked` is the share of constituents that are hidden, at least one and never all.

    `objectives` are the paper's seven: identity (which of eight kinds), tokens (the code of a
    VQ-VAE, one of `codes`, of a store of tokens), regression, clusters (the nearest of `clusters`
    centres, by k-means on the first batch), cnf (a normalising flow), cfm (flow matching of each by
    itself), ssfm (flow matching of all that is hidden in a jet together). The paper does not give
    the registers nor the sizes of heads: those are ours.
    """

    TITLE: ClassVar[str] = "MPMv2: masked constituents of a jet, by seven tasks"
    SOURCE: ClassVar[str] = "arXiv:2409.12589"
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "jetclass": {
            "width": 512,
            "layers": 8,
            "heads": 8,
            "registers": 8,
            "activation": "swiglu",
            "layer_scale": 1e-5,
            "decoder_width": 128,
            "decoder_layers": 4,
            "decoder_heads": 4,
        }
    }
    OBJECTIVES: ClassVar[tuple[str, ...]] = (
        "identity",
        "tokens",
        "regression",
        "clusters",
        "cnf",
        "cfm",
        "ssfm",
    )
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"identity": 1.0, "clusters": 1.0}
    TOKENS: ClassVar[float] = 40  # about the constituents of a jet of JetClass
    NOT_SHAPES: ClassVar[frozenset[str]] = Family.NOT_SHAPES | {"masked"}

    family: Literal["mpmv2"] = "mpmv2"
    inputs: Choice = "full"
    width: PositiveInt
    layers: NonNegativeInt
    heads: PositiveInt = 8
    registers: NonNegativeInt = 0
    activation: Literal["gelu", "swiglu"] = "gelu"
    layer_scale: NonNegativeFloat = 0.0
    decoder_width: PositiveInt = 128
    decoder_layers: PositiveInt = 4
    decoder_heads: PositiveInt = 4
    masked: float = Field(default=0.3, gt=0, lt=1)
    codes: PositiveInt = 512
    clusters: PositiveInt = 512
    dropout: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        """Check that the heads share the widths evenly."""
        for width, heads in ((self.width, self.heads), (self.decoder_width, self.decoder_heads)):
            if width % heads:
                message = f"width {width} is no multiple of {heads} heads"
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _reads_kinds(self) -> Self:
        """Check that the model has what its objectives take."""
        if "identity" in self.objectives and self.inputs == "kin":
            message = 'objective "identity" predicts kinds: write inputs = "kinpid" or "full"'
            raise ValueError(message)
        return self

    @property
    def hidden(self) -> tuple[int, int]:
        """One, the last, and its width."""
        return 1, self.width

    @property
    def context(self) -> int:
        """The width of what a head is given of a masked constituent."""
        return self.decoder_width

    @property
    def features(self) -> int:
        """The number of predicted continuous features: pT, Δη, Δφ, and impact parameters."""
        return len(KINEMATICS) + len(IMPACT) * (self.inputs == "full")

    def reads(self) -> Reads:
        """Return the inputs, and the token where it is predicted; a jet of one cannot be masked."""
        tokens = "tokens" in self.objective_weights
        return Reads(
            INPUTS[self.inputs],
            per_point=(TOKEN,) if tokens else (),
            least_points=2,
            most_points=MOST_CONSTITUENTS,
            codes=self.codes if tokens else 0,
            physical=True,
        )

    def reads_downstream(self) -> Reads:
        """Return the inputs of any jet."""
        return replace(self.reads(), per_point=(), codes=0, least_points=1)

    def parameters(self) -> Parameters:
        """Return the count of encoder, decoder, mask tokens and the heads of all objectives."""
        registers = self.registers * self.width
        count = linear(len(INPUTS[self.inputs]), self.width) + registers + 2 * self.width
        count += self.layers * self._block(self.width)
        count += (1 + MOST_CONSTITUENTS) * self.context  # mask token, and places
        count += linear(self.width, self.decoder_width) + 2 * self.decoder_width
        count += self.decoder_layers * self._block(self.decoder_width)
        return Parameters(count + sum(self._head(name) for name in self.objective_weights))

    def _block(self, width: int) -> int:
        """Return the count of a pre-norm block of a feed-forward of 2 (SwiGLU) or 4 widths."""
        attention = linear(width, 3 * width) + linear(width, width)
        inner, parts = (2, 2) if self.activation == "swiglu" else (4, 1)
        feed_forward = linear(width, parts * inner * width) + linear(inner * width, width)
        return attention + feed_forward + 4 * width + 2 * width * (self.layer_scale > 0)

    def _head(self, name: str) -> int:
        """Return the count of the head of an objective; a custom one has none."""
        count, context = self.features, self.context
        outputs = {"identity": len(IDENTITIES), "tokens": self.codes, "clusters": self.clusters}
        if name in (*outputs, "regression"):
            return linear(context, outputs.get(name, count))
        if name == "cnf":
            inner, knots = FLOW_INNER, count * (3 * BINS - 1)
            spline = linear(count + context, inner) + linear(inner, inner) + linear(inner, knots)
            return FLOWS * spline
        if name == "cfm":
            entry = linear(count + TIMES + context, 2 * context)
            return entry + linear(2 * context, 2 * context) + linear(2 * context, count)
        if name == "ssfm":
            return linear(count + TIMES, context) + linear(context, count)
        return 0

    def flops_per_token(self, tokens: float) -> float:
        """Return the FLOPs of a jet over its constituents; the decoder is passed again by ssfm."""
        seen = 1 - self.masked
        length = seen * tokens + self.registers
        entry = len(INPUTS[self.inputs]) * self.width * seen
        encoder = self.layers * self._products(self.width, length) * length / tokens
        passes = (set(self.objective_weights) != {"ssfm"}) + ("ssfm" in self.objective_weights)
        total = tokens + self.registers
        decoder = self.decoder_layers * self._products(self.decoder_width, total) * total / tokens
        heads = self.masked * sum(self._head(name) for name in self.objective_weights)
        return 6.0 * (entry + encoder + passes * decoder + heads)

    def _products(self, width: int, length: float) -> float:
        """Return the multiply-adds of a block for one of `length` tokens, forward."""
        feed_forward = (6 if self.activation == "swiglu" else 8) * width * width
        return 4.0 * width * width + feed_forward + 2.0 * length * width
