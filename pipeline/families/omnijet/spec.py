"""OmniJet-alpha's backbone: the next token of a jet (Birk, Hallin, Kasieczka, arXiv:2403.05618).

The vocabulary is 0 (start), code + 1 for each code of the tokenizer, and codes + 1 (stop): 8194
words for 8192 codes.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

from pydantic import NonNegativeFloat, PositiveInt, model_validator

from pipeline.families.family import Family, Parameters, Reads, linear
from pipeline.families.tokenizer import FEATURES, MOST_CONSTITUENTS, Padding

START = 0
SPECIAL = 2  # start and stop
TOKEN = "token"  # noqa: S105 - the name of an array


class OmniJet(Family):
    """Post-norm blocks over start and the tokens of a jet, without places: order is in the mask.

    `inputs` "continuous" gives the model the three features themselves, where "tokens" gives it
    their codes; what it predicts is tokens in both (as in arXiv:2512.04149).

    The published loss is a mean over all words of jets padded to `padded_to`, where a word of
    padding is to be predicted as 0: that is `padding` "counted". "left_out" is the likelihood of a
    jet.
    """

    TITLE: ClassVar[str] = "OmniJet-alpha: the next token of a jet"
    HELD_TO: ClassVar[str] = "the outputs of OmniJet-alpha at 1c8d442 within 5e-7"
    SOURCE: ClassVar[str] = (
        "arXiv:2403.05618, §3.2; 6,570,498 parameters, where the slides print 6.7M: 2 % unresolved"
    )
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {"alpha": {"codes": 8192}}
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("next_token",)
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"next_token": 1.0}
    TOKENS: ClassVar[float] = 40  # about the constituents of a jet of JetClass
    NOT_SHAPES: ClassVar[frozenset[str]] = Family.NOT_SHAPES | {"padding", "padded_to"}

    family: Literal["omnijet"] = "omnijet"
    codes: PositiveInt
    width: PositiveInt = 256
    layers: PositiveInt = 3
    heads: PositiveInt = 8
    inputs: Literal["tokens", "continuous"] = "tokens"
    dropout: NonNegativeFloat = 0.0
    padding: Padding = "left_out"
    padded_to: PositiveInt = MOST_CONSTITUENTS + 1

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        """Check that the heads share the width evenly."""
        if self.width % self.heads:
            message = f"width {self.width} is no multiple of {self.heads} heads"
            raise ValueError(message)
        return self

    @property
    def vocabulary(self) -> int:
        """The number of words: the codes, start and stop."""
        return self.codes + SPECIAL

    @property
    def hidden(self) -> tuple[int, int]:
        """One, the last, and its width."""
        return 1, self.width

    def reads(self) -> Reads:
        """Return the features and the token of each constituent, of at most 128 a jet."""
        return Reads(FEATURES, per_point=(TOKEN,), most_points=MOST_CONSTITUENTS, codes=self.codes)

    def reads_downstream(self) -> Reads:
        """Return the features in a store of tokens, and the token if the model is given that."""
        if self.inputs == "tokens":
            return self.reads()
        return replace(self.reads(), per_point=())

    def _blocks(self) -> int:
        """Return the count of all blocks; queries, keys and values have no bias."""
        width = self.width
        attention = linear(width, 3 * width, bias=False) + linear(width, width)
        feed_forward = linear(width, 4 * width) + linear(4 * width, width)
        return self.layers * (attention + feed_forward + 4 * width)

    def parameters(self) -> Parameters:
        """Return the count of embedding, blocks and the head over the vocabulary."""
        continuous = linear(len(FEATURES), self.width) + self.width  # features, and a start vector
        entry = continuous if self.inputs == "continuous" else self.vocabulary * self.width
        return Parameters(entry + self._blocks() + linear(self.width, self.vocabulary))

    def flops_per_token(self, tokens: float) -> float:
        """Return 6 FLOPs a weight of a matrix, and those of attention, half of it causal."""
        matrices = self.layers * 12 * self.width**2 + self.width * self.vocabulary
        attention = self.layers * 2 * self.width * tokens / 2
        entry = len(FEATURES) * self.width if self.inputs == "continuous" else 0
        return 6.0 * (matrices + attention + entry)
