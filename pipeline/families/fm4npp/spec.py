"""FM4NPP: state-space layers over serialised space points (arXiv:2508.14087).

The paper's counts, 0.34M to 188M, are those of Mamba layers; the checkpoints that were released
have Mamba2 layers, and so 7 % less. Both are here, under their own names.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from pipeline.catalog import INCIDENTAL
from pipeline.families.family import Family, Parameters, Reads, linear

Encoding = Literal["nerf", "fourier", "continuous", "none"]
Combine = Literal["add", "concat"]
Kernels = Literal["auto", "torch", "mamba-ssm"]
TimeSteps = Literal["log-uniform", "zero"]

COORDINATES = 3
FREQUENCIES = 10  # of `nerf`
BANDS = 12  # of `fourier`
TAPS = 4
EXPAND = 2
HEAD_CHANNELS = 64
BY_SIZE = "neighbours_by_size"
WIDTHS = {"m1": 64, "m2": 128, "m3": 256, "m4": 512, "m5": 1024, "m6": 1536, "slides-320m": 2048}


def projected_features(encoding: Encoding) -> int:
    """Return how many features of three coordinates are projected; `continuous` has none."""
    waves = {"nerf": FREQUENCIES, "fourier": BANDS, "none": 0}
    return 0 if encoding == "continuous" else COORDINATES * (2 * waves[encoding] + 1)


def energy_channels(width: int, combine: Combine) -> int:
    """Return the channels of the embedded energy: a quarter of the width where it stands apart."""
    return width if combine == "add" else width // 4


class FM4NPP(Family):
    """What both kinds of layers share; `neighbours` is k, how many next ones a point predicts.

    `embedding` is what is made of the coordinates, `combine` how the energy joins it. `kernels`
    chooses who computes the scan: mamba-ssm, PyTorch, or with "auto" the first if it is there.
    `time_steps` is the law of the first time steps: log-uniform from 0.001 to 0.1, as Mamba's
    papers have it, or of biases that are zero, as FM4NPP's trainer makes them: steps of about 0.7,
    over which a state is forgotten within a point.

    Objectives: `neighbours` is the mean over all neighbours of a batch, as published, so that a
    large event counts more; `neighbours_per_event` the mean over events of each event's mean, the
    same however a batch is shared among processes; `neighbours_by_size` weighs that of an event
    by its number of points, with the weight `event_weights[i]` from `event_sizes[i]` points up to
    the next of `event_sizes`, and 0 outside.
    """

    HELD_TO: ClassVar[str] = "the outputs of FM4NPP at 0a0a17c within 6e-6"
    SOURCE: ClassVar[str] = "arXiv:2508.14087, m1 to m6; the largest one of the slides of May 2025"
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        name: {"width": width, "layers": 12, "neighbours": 30} for name, width in WIDTHS.items()
    }
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("neighbours", "neighbours_per_event", BY_SIZE)
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"neighbours": 1.0}
    TOKENS: ClassVar[float] = 856  # points an event of TPCpp-10M (arXiv:2509.05792)
    NOT_SHAPES: ClassVar[frozenset[str]] = Family.NOT_SHAPES | {
        "kernels",
        "time_steps",
        "event_sizes",
        "event_weights",
    }

    family: str
    width: PositiveInt
    layers: PositiveInt = 12
    neighbours: PositiveInt = 30
    embedding: Encoding = "nerf"
    combine: Combine = "add"
    dropout: NonNegativeFloat = 0.0
    kernels: Annotated[Kernels, INCIDENTAL] = "auto"
    time_steps: TimeSteps = "log-uniform"
    event_sizes: tuple[NonNegativeInt, ...] = ()
    event_weights: tuple[NonNegativeFloat, ...] = ()

    @model_validator(mode="after")
    def _sizes_have_weights(self) -> Self:
        """Check that each bin of sizes has a weight, and that there are some where needed."""
        sizes, weights = self.event_sizes, self.event_weights
        rising = all(low < high for low, high in pairwise(sizes))
        if len(sizes) != (len(weights) + 1 if weights else 0) or not rising:
            message = (
                f"event_sizes {sizes} and event_weights {weights}: give the rising edges of bins "
                "of the number of points, and a weight for each bin, one fewer"
            )
            raise ValueError(message)
        if bool(weights) != (BY_SIZE in self.objectives):
            message = f"event_sizes and event_weights belong to the objective {BY_SIZE!r}"
            raise ValueError(message)
        return self

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

    def objective_settings(self, name: str) -> Mapping[str, Any]:
        """Return the bins of sizes and their weights, for the objective that weighs by size."""
        return {"edges": self.event_sizes, "weights": self.event_weights} if name == BY_SIZE else {}

    def reads(self) -> Reads:
        """Return the four columns of a space point and its k next neighbours."""
        return Reads(("energy", "eta", "phi", "r"), neighbours=self.neighbours)

    @property
    def frozen(self) -> int:
        """The parameters of the embedding, which stay as they were drawn."""
        energy = energy_channels(self.width, self.combine)
        mixed = energy + self.width if self.combine == "concat" else 0
        return energy + (projected_features(self.embedding) + mixed) * self.width

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
