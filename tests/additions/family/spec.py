"""A family of models that a test plants: points one by one."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import NonNegativeInt, PositiveInt

from pipeline.families.family import Family, Parameters, Reads, linear


class Planted(Family):
    """Points one by one, which tell their energy."""

    TITLE: ClassVar[str] = "points one by one"
    SOURCE: ClassVar[str] = "tests/additions"
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("energy",)
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"energy": 1.0}
    TOKENS: ClassVar[float] = 100

    family: Literal["planted"] = "planted"
    width: PositiveInt = 8
    layers: NonNegativeInt = 1

    @property
    def hidden(self) -> tuple[int, int]:
        """One state of each point."""
        return 1, self.width

    def reads(self) -> Reads:
        """Return the columns of a space point."""
        return Reads(("energy", "eta", "phi", "r"))

    def parameters(self) -> Parameters:
        """Return the numbers of parameters."""
        inner = self.layers * linear(self.width, self.width)
        return Parameters(linear(3, self.width) + inner + linear(self.width, 1))

    def flops_per_token(self, tokens: float) -> float:  # noqa: ARG002
        """Return the FLOPs of training per point."""
        return 6 * (4 * self.width + self.layers * self.width**2)
