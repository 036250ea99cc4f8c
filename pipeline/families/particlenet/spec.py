"""ParticleNet (Qu, Gouskos, arXiv:1902.08570): jets as point clouds, edge convolutions."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from pipeline.families.family import Family, Parameters, Reads, Together, linear
from pipeline.families.jet_columns import ANGLES, CHOICES, Choice
from pipeline.families.part.spec import LABEL


class ParticleNet(Family):
    """EdgeConv blocks of `widths`, each on its `neighbours` nearest, then the mean of particles.

    The neighbours are near in (Δη, Δφ) for the first block, and for each other in the features
    that the block before has made. A jet of too few particles has "padded" neighbours, whose
    features are zero, as in the published code (weaver-core, ParticleNet.py), or with
    `few_neighbours` "present" fewer of them. A block has `convolutions` layers and a shortcut.
    `norm` is as in `part`: "batch" is the published one. `inner` channels stand before the classes.
    """

    TITLE: ClassVar[str] = "ParticleNet: the class of a jet"
    HELD_TO: ClassVar[str] = "the outputs of weaver-core at 154db69 within 4e-6"
    SOURCE: ClassVar[str] = "arXiv:1902.08570, §3; 370k parameters in arXiv:2202.03772, table 3"
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "full": {"inputs": "full"},
        "kinpid": {"inputs": "kinpid"},
        "kin": {"inputs": "kin"},
    }
    EVENT_TOKEN: ClassVar[bool] = True
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("classes",)
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"classes": 1.0}
    TOKENS: ClassVar[float] = 40

    family: Literal["particlenet"] = "particlenet"
    inputs: Choice = "full"
    widths: tuple[PositiveInt, ...] = Field(default=(64, 128, 256), min_length=1)
    layers: NonNegativeInt = 3
    convolutions: PositiveInt = 3
    neighbours: PositiveInt = 16
    few_neighbours: Literal["padded", "present"] = "padded"
    inner: PositiveInt = 256
    classes: int = Field(default=10, ge=2)
    norm: Literal["batch", "layer"] = "batch"
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _as_many(cls, given: Any) -> Any:
        """Fill in the number of layers where only their widths are given."""
        if isinstance(given, dict) and "widths" in given:
            return {"layers": len(given["widths"]), **given}
        return given

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        """Check that each block has its width."""
        if self.layers != len(self.widths):
            message = f"layers {self.layers}, but widths of {len(self.widths)}: leave out `layers`"
            raise ValueError(message)
        return self

    @property
    def taken_together(self) -> Together | None:
        """Batch norm, whose mean and spread are of the events of all processes."""
        return Together("batch norm", in_all=True) if self.norm == "batch" else None

    @property
    def hidden(self) -> tuple[int, int]:
        """One, the last, and its width; with no layer, the inputs."""
        return 1, self.widths[-1] if self.layers else len(CHOICES[self.inputs])

    @property
    def event_width(self) -> int:
        """The channels of an event's state, before the classes."""
        return self.inner if self.layers else self.hidden[1]

    def reads(self) -> Reads:
        """Return the inputs, of which two say where a particle is, and the class."""
        return Reads(CHOICES[self.inputs], per_event=(LABEL,), physical=True)

    def reads_downstream(self) -> Reads:
        """Return the inputs."""
        return Reads(CHOICES[self.inputs], physical=True)

    def parameters(self) -> Parameters:
        """Return the count with the layer of classes; full: 370,156, kin with two: 366,160."""
        sizes = (len(CHOICES[self.inputs]), *self.widths)
        blocks = sum(self._block(a, b) for a, b in pairwise(sizes))
        last = linear(sizes[-1], self.inner) + linear(self.inner, self.classes)
        return Parameters(2 * sizes[0] + blocks + last)

    def _block(self, inputs: int, width: int) -> int:
        """Return the count of a block: layers without bias, each with a norm; the shortcut too."""
        further = self.convolutions - 1
        norms = 2 * width * (self.convolutions + 1)
        return 2 * inputs * width + further * width**2 + inputs * width + norms

    def flops_per_token(self, tokens: float) -> float:
        """Return the FLOPs of a jet over its `tokens` particles.

        The first layer of a block is linear in both ends of an edge, so it is computed for each
        particle and not for each edge; the published count, 540 million multiply-adds of 128
        particles, has it sixteen times.
        """
        sizes = (len(CHOICES[self.inputs]), *self.widths)
        present = min(self.neighbours, max(tokens - 1, 1))
        edges = self.neighbours if self.few_neighbours == "padded" else present
        layers = sum(3 * a * b + edges * (self.convolutions - 1) * b**2 for a, b in pairwise(sizes))
        distances = tokens * (len(ANGLES) + sum(sizes[1:-1]))  # no slope goes back through them
        last = (sizes[-1] + self.classes) * self.inner / tokens
        return 6.0 * (layers + last) + 2.0 * distances
