"""Tokenizer by bins: equal bins of each feature of a constituent."""

from math import prod
from typing import ClassVar, Literal, Self

from pydantic import PositiveInt, model_validator

from pipeline.families.family import Parameters
from pipeline.families.tokenizer import FEATURES, Tokenizer

Range = tuple[float, float]


class Binning(Tokenizer):
    """Equal bins of each feature between `ranges`; a code is the index in the grid of all three.

    `spacing` "equal": `bins` cells of one width, each stands for its middle. "linspace": `bins`
    values from one end to the other, both included, each stands for itself. What lies beyond a
    range counts as its end. Ranges are of the normalised features: ln(pT / GeV) - 1.8, 3 Δη, 3 Δφ.
    """

    TITLE: ClassVar[str] = "bins of each feature of a constituent"
    SOURCE: ClassVar[str] = "arXiv:2403.05618, §3.1: binned tokens"

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

    def flops_per_token(self, tokens: float) -> float:
        """Return zero: nothing is trained."""
        return 0.0
