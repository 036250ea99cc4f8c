"""FM4NPP: state-space layers over serialised space points (arXiv:2508.14087)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveInt, model_validator

from pipeline.families.family import Family, Parameters, Reads, linear

COORDINATES = 3
NERF_FEATURES = 63  # 3 coordinates, and sine and cosine of each at 10 frequencies
TAPS = 4
EXPAND = 2
HEAD_CHANNELS = 64


class FM4NPPMamba2(Family):
    """FM4NPP with Mamba2 layers; `neighbours` is k, the next neighbours that a point predicts."""

    TITLE: ClassVar[str] = "FM4NPP with Mamba2 layers"
    SOURCE: ClassVar[str] = "arXiv:2508.14087, table 1: m1 to m6; m7 is the slides' largest"
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        name: {"width": width, "layers": 12, "neighbours": 30}
        for name, width in zip(
            ("m1", "m2", "m3", "m4", "m5", "m6", "m7"),
            (64, 128, 256, 512, 1024, 1536, 2048),
            strict=True,
        )
    }
    MODULE: ClassVar[str] = "pipeline.training.models.fm4npp:build"
    EXAMINE: ClassVar[str] = "pipeline.training.examinations.fm4npp:examine"
    BACKBONE: ClassVar[str] = "pipeline.training.models.fm4npp:Backbone"
    OBJECTIVES: ClassVar[Mapping[str, str]] = {
        "neighbours": "pipeline.training.objectives.neighbours:next_neighbours"
    }
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"neighbours": 1.0}

    family: Literal["fm4npp-mamba2"] = "fm4npp-mamba2"
    width: PositiveInt
    layers: PositiveInt = 12
    neighbours: PositiveInt = 30
    dropout: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _heads_divide(self) -> "FM4NPPMamba2":
        """Check that Mamba2's heads of 64 channels fill twice the width."""
        check_width(self.width)
        return self

    @property
    def hidden(self) -> tuple[int, int]:
        """The layers, and their width."""
        return self.layers, self.width

    def reads(self) -> Reads:
        """Return the four columns of a space point and its k next neighbours."""
        return Reads(("energy", "eta", "phi", "r"), neighbours=self.neighbours)

    def parameters(self) -> Parameters:
        """Return the counts: the projections of the embedding stay as they were drawn."""
        width = self.width
        head = linear(width, COORDINATES * self.neighbours)
        return Parameters(
            self.layers * layer_parameters(width) + head + width, (1 + NERF_FEATURES) * width
        )

    def flops_per_token(self, tokens: float) -> float:  # noqa: ARG002 - linear in the length
        """Return 6 FLOPs for each weight of a matrix, and those of the recurrence."""
        width = self.width
        head = COORDINATES * self.neighbours * width
        return (
            6.0 * (self.layers * layer_products(width) + head) + 2.0 * (1 + NERF_FEATURES) * width
        )


def check_width(width: int) -> None:
    """Check that Mamba2's heads of 64 channels fill twice the `width`.

    Raises:
        ValueError: They do not.
    """
    if width % (HEAD_CHANNELS // EXPAND):
        message = f"width {width} is no multiple of 32 (heads of 64 over 2 × width)"
        raise ValueError(message)


def layer_parameters(width: int) -> int:
    """Return the number of parameters of a Mamba2 layer with its norm; the state is width / 16."""
    state, inner = width // 16, EXPAND * width
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


def layer_products(width: int) -> float:
    """Return the multiply-adds of a Mamba2 layer for one point, forward."""
    state, inner = width // 16, EXPAND * width
    heads = inner // HEAD_CHANNELS
    matrices = width * (2 * inner + heads) + 2 * width * state + inner * width
    convolution = (inner + 2 * state) * TAPS
    recurrence = 3 * inner * state  # decay, add x ⊗ b, and read with c: N each a channel
    return float(matrices + convolution + recurrence)
