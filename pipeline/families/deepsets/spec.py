"""Deep Sets of jets, particle flow networks (Komiske, Metodiev, Thaler, arXiv:1810.05165)."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from pipeline.families.family import Family, Parameters, Reads, linear
from pipeline.families.jet_columns import CHOICES, Choice
from pipeline.families.part.spec import LABEL


class DeepSets(Family):
    """F(Σ Φ(particle)): layers `phi` of each particle, a sum, layers `f` of the jet, classes.

    Size "pfn" is that of arXiv:1810.05165, §4.2; "jetclass" the one that arXiv:2202.03772 compares
    with, 86,154 parameters where its table 3 has 86.1k.
    """

    TITLE: ClassVar[str] = "Deep Sets (PFN): the class of a jet"
    SOURCE: ClassVar[str] = "arXiv:1810.05165, §4.2; 82k to 86k parameters"
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "pfn": {"phi": (100, 100, 256), "f": (100, 100, 100)},
        "jetclass": {"phi": (128, 128, 128), "f": (128, 128, 128)},
    }
    EVENT_TOKEN: ClassVar[bool] = True
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("classes",)
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"classes": 1.0}
    TOKENS: ClassVar[float] = 40

    family: Literal["deepsets"] = "deepsets"
    inputs: Choice = "full"
    phi: tuple[PositiveInt, ...] = Field(default=(100, 100, 256), min_length=1)
    f: tuple[PositiveInt, ...] = Field(default=(100, 100, 100), min_length=1)
    layers: NonNegativeInt = 3
    classes: int = Field(default=10, ge=2)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _as_many(cls, given: Any) -> Any:
        """Fill in the number of layers of a particle where only their widths are given."""
        if isinstance(given, dict) and "phi" in given:
            return {"layers": len(given["phi"]), **given}
        return given

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        """Check that each layer of a particle has its width."""
        if self.layers != len(self.phi):
            message = f"layers {self.layers}, but phi of {len(self.phi)}: leave out `layers`"
            raise ValueError(message)
        return self

    @property
    def hidden(self) -> tuple[int, int]:
        """One, what Φ makes of a particle; with no layer, the inputs."""
        return 1, self.phi[-1] if self.layers else len(CHOICES[self.inputs])

    @property
    def event_width(self) -> int:
        """The channels of an event's state, before the classes."""
        return self.f[-1] if self.layers else self.hidden[1]

    def reads(self) -> Reads:
        """Return the inputs and the class."""
        return Reads(CHOICES[self.inputs], per_event=(LABEL,), physical=True)

    def reads_downstream(self) -> Reads:
        """Return the inputs."""
        return Reads(CHOICES[self.inputs], physical=True)

    def _layers(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return inputs and outputs of each layer: of a particle, and of a jet with classes."""
        phi = (len(CHOICES[self.inputs]), *self.phi)
        f = (self.phi[-1], *self.f, self.classes)
        return list(pairwise(phi)), list(pairwise(f))

    def parameters(self) -> Parameters:
        """Return the count with the layer of classes."""
        phi, f = self._layers()
        return Parameters(sum(linear(a, b) for a, b in (*phi, *f)))

    def flops_per_token(self, tokens: float) -> float:
        """Return the FLOPs of a jet over its `tokens` particles."""
        phi, f = self._layers()
        (first, *others), jet = ([a * b for a, b in each] for each in (phi, f))
        return 4.0 * first + 6.0 * (sum(others) + sum(jet) / tokens)
