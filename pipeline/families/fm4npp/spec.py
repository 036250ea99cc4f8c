"""FM4NPP: state-space layers over serialised space points (arXiv:2508.14087).

The paper's counts, 0.34M to 188M, are those of Mamba layers; the checkpoints that were released
have Mamba2 layers, and so 7 % less. Both are here, under their own names.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import NonNegativeFloat, PositiveInt, model_validator

from pipeline.families.family import Family, Parameters, Reads, linear

Encoding = Literal["nerf", "fourier", "continuous", "none"]
Combine = Literal["add", "concat"]
Kernels = Literal["auto", "torch", "mamba-ssm"]

COORDINATES = 3
FREQUENCIES = 10  # of `nerf`
BANDS = 12  # of `fourier` and `continuous`
TAPS = 4
EXPAND = 2
HEAD_CHANNELS = 64
WIDTHS = {"m1": 64, "m2": 128, "m3": 256, "m4": 512, "m5": 1024, "m6": 1536, "slides-320m": 2048}


def encoded_features(encoding: Encoding) -> int:
    """Return how many features an encoding makes of three coordinates."""
    waves = {"nerf": 2 * FREQUENCIES, "fourier": 2 * BANDS, "continuous": 2 * BANDS, "none": 0}
    itself = encoding != "continuous"
    return COORDINATES * (waves[encoding] + itself)


class FM4NPP(Family):
    """What both kinds of layers share; `neighbours` is k, how many next ones a point predicts.

    `embedding` is what is made of the coordinates, `combine` how the energy joins it. `kernels`
    chooses who computes the scan: mamba-ssm, PyTorch, or with "auto" the first if it is there.
    """

    SOURCE: ClassVar[str] = "arXiv:2508.14087, m1 to m6; the largest one of the slides of May 2025"
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        name: {"width": width, "layers": 12, "neighbours": 30} for name, width in WIDTHS.items()
    }
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("neighbours",)
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"neighbours": 1.0}
    TOKENS: ClassVar[float] = 856  # points an event of TPCpp-10M (arXiv:2509.05792)
    NOT_SHAPES: ClassVar[frozenset[str]] = Family.NOT_SHAPES | {"kernels"}

    family: str
    width: PositiveInt
    layers: PositiveInt = 12
    neighbours: PositiveInt = 30
    embedding: Encoding = "nerf"
    combine: Combine = "add"
    dropout: NonNegativeFloat = 0.0
    kernels: Kernels = "auto"

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        """Check that heads of 64 channels fill twice the width."""
        if self.width % (HEAD_CHANNELS // EXPAND):
            message = f"width {self.width} is no multiple of 32 (heads of 64 over 2 × width)"
            raise ValueError(message)
        return self

    @property
    def hidden(self) -> tuple[int, int]:
        """The layers, and their width."""
        return self.layers, self.width

    def reads(self) -> Reads:
        """Return the four columns of a space point and its k next neighbours."""
        return Reads(("energy", "eta", "phi", "r"), neighbours=self.neighbours)

    @property
    def frozen(self) -> int:
        """The parameters of the embedding, which stay as they were drawn."""
        channels = self.width if self.combine == "add" else self.width // 2
        return (1 + encoded_features(self.embedding)) * channels

    def parameters(self) -> Parameters:
        """Return the counts of all layers, the last norm and the head."""
        head = linear(self.width, COORDINATES * self.neighbours)
        return Parameters(self.layers * self.layer() + head + self.width, self.frozen)

    def flops_per_token(self, tokens: float) -> float:
        """Return 6 FLOPs for each weight of a matrix, and those of the recurrence.

        Nothing flows back through the embedding, whose projections cost 2 FLOPs a weight.
        """
        head = COORDINATES * self.neighbours * self.width
        return 6.0 * (self.layers * self.multiplications() + head) + 2.0 * self.frozen

    def layer(self) -> int:
        """Return the parameters of one layer."""
        raise NotImplementedError

    def multiplications(self) -> int:
        """Return the multiply-adds of one layer for one point."""
        raise NotImplementedError


class FM4NPPMamba2(FM4NPP):
    """FM4NPP with Mamba2 layers, as the checkpoints that were released."""

    TITLE: ClassVar[str] = "FM4NPP with Mamba2 layers"
    RULES: ClassVar[tuple[str, ...]] = ("mup",)

    family: Literal["fm4npp-mamba2"] = "fm4npp-mamba2"

    def layer(self) -> int:
        """Return the parameters of one layer, with separate projections to B and C."""
        width, state = self.width, self.width // 16
        inner = EXPAND * width
        heads = inner // HEAD_CHANNELS
        return (
            linear(width, 2 * inner + heads, bias=False)
            + 2 * linear(width, state, bias=False)
            + (inner + 2 * state) * (TAPS + 1)
            + 3 * heads
            + inner
            + linear(inner, width, bias=False)
            + width
        )

    def multiplications(self) -> int:
        """Return projections, convolution, and three for each channel and state.

        These are the decay, the sum with x ⊗ B, and the product with C; a chunked scan does more.
        """
        width, state = self.width, self.width // 16
        inner = EXPAND * width
        heads = inner // HEAD_CHANNELS
        matrices = width * (2 * inner + heads) + 2 * width * state + inner * width
        return matrices + (inner + 2 * state) * TAPS + 3 * inner * state


class FM4NPPMamba(FM4NPP):
    """FM4NPP with Mamba layers, whose counts are those that the paper prints."""

    TITLE: ClassVar[str] = "FM4NPP with Mamba layers"

    family: Literal["fm4npp-mamba"] = "fm4npp-mamba"

    def layer(self) -> int:
        """Return the parameters of one layer; the time step passes a rank of W / 16."""
        width, state = self.width, self.width // 16
        inner, rank = EXPAND * width, width // 16
        return (
            linear(width, 2 * inner, bias=False)
            + inner * (TAPS + 1)
            + linear(inner, rank + 2 * state, bias=False)
            + linear(rank, inner)
            + inner * state
            + inner
            + linear(inner, width, bias=False)
            + width
        )

    def multiplications(self) -> int:
        """Return projections, convolution, and three for each channel and state."""
        width, state = self.width, self.width // 16
        inner, rank = EXPAND * width, width // 16
        matrices = 3 * width * inner + inner * (rank + 2 * state) + rank * inner
        return matrices + inner * TAPS + 3 * inner * state
