"""Tokenizers of jets: from the three features of a constituent to one of `codes` codes, and back.

OmniJet-alpha (Birk, Hallin, Kasieczka, arXiv:2403.05618, §3.1): bins, a VQ-VAE of each constituent
by itself, and a VQ-VAE conditioned on the whole jet. A tokenizer is declared like a model; its
product is a store of tokens. Axes: W width of a hidden layer, D latent numbers.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pipeline.families.family import Family, Parameters, Reads

FEATURES = ("log_pt", "deta", "dphi")
MOST_CONSTITUENTS = 128
Padding = Literal["left_out", "counted"]


class Tokenizer(Family):
    """What all tokenizers share: they take the three features of at most 128 constituents."""

    TOKENS: ClassVar[float] = 40  # about the constituents of a jet of JetClass
    TAKES_HEADS: ClassVar[bool] = False
    OBJECTIVES: ClassVar[tuple[str, ...]] = ()
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {}

    if TYPE_CHECKING:

        @property
        def codes(self) -> int:
            """The number of codes."""

    def parameters(self) -> Parameters:
        """Return the numbers of parameters, which are known of each tokenizer."""
        raise NotImplementedError

    def reads(self) -> Reads:
        """Return the three features, of jets that were cut to 128 constituents."""
        return Reads(FEATURES, most_points=MOST_CONSTITUENTS)
