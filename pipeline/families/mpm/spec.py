"""Masked particle modelling: hidden constituents of a jet, predicted from the others.

Golling et al., arXiv:2401.13537; the function is that of github.com/rodem-hep/mpm at c6ba855 (MIT).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from pipeline.families.family import Family, Parameters, Reads, linear
from pipeline.families.omnijet.spec import TOKEN

COLUMNS = ("deta", "dphi", "log_squash_pt")
HELD = "the outputs of rodem-hep/mpm at c6ba855 within 1e-6"
SOURCE = "arXiv:2401.13537"


def dense(inputs: int, inner: int, outputs: int, *, norm: bool = True) -> int:
    """Return the parameters of two linear layers, with a norm of the inner channels or without."""
    return linear(inputs, inner) + linear(inner, outputs) + 2 * inner * norm


def encoder(
    inputs: int, width: int, inner: int, layers: int, outputs: int, *, norm: bool = True
) -> int:
    """Return the parameters of an encoder; `norm` is that of its last network."""
    attention = linear(width, 3 * width) + linear(width, width) + 2 * width
    block = attention + dense(width, inner, width) + 4 * width
    ends = dense(inputs, inner, width) + 2 * width + dense(width, inner, outputs, norm=norm)
    return ends + layers * block


def encoder_products(
    inputs: int, width: int, inner: int, layers: int, outputs: int, length: float
) -> float:
    """Return the multiply-adds of an encoder for one of `length` tokens, forward."""
    block = 4.0 * width * width + 2.0 * inner * width + 2.0 * length * width
    return (inputs + 2 * width + outputs) * inner + layers * block


class MPM(Family):
    """An encoder that reads mask tokens in place of hidden constituents, and a second one.

    `masked` is the share of each jet that is hidden, rounded down: a jet of three at 0.3 has none.
    The output of the first encoder has as many channels as there are classes. With `positions`
    "second_encoder", as published, a table of positions is added to it, and a second encoder
    (`second_width` and so on) follows; a position is that in the jet, so the store's order counts:
    by falling pT as published. "inputs" adds the table to what the first encoder reads. `points` is
    its length, the most constituents of a jet.

    Objectives, of which a model learns one: "tokens" (the code of a VQ-VAE, one of `codes`, from a
    store of tokens), "clusters" (the nearest of `clusters` centres, by k-means on the first batch;
    with `reads_centres` the encoder is given the centres in place of the constituents), and
    "regression" of the three normalised inputs.

    Inputs are normalised by the mean and variance of the constituents of the training, which no
    longer change after `normaliser_points` of them. `mask` "fixed", as published, stands
    before that and passes no gradient, so it stays the ones as which it begins, and so does the
    table of "inputs"; "learnt" puts both behind, where they learn. `dropout` is of the weights of
    attention.
    """

    TITLE: ClassVar[str] = "MPM: masked constituents of a jet"
    SOURCE: ClassVar[str] = SOURCE
    HELD_TO: ClassVar[str] = HELD
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"width": 256, "inner": 256, "layers": 4},
        "mid": {"width": 512, "inner": 512, "layers": 8},
        "large": {"width": 1024, "inner": 1024, "layers": 8},
    }
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("tokens", "clusters", "regression")
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"tokens": 1.0}
    TOKENS: ClassVar[float] = 40  # about the constituents of a jet of JetClass
    NOT_SHAPES: ClassVar[frozenset[str]] = Family.NOT_SHAPES | {
        "masked",
        "mask",
        "reads_centres",
        "normaliser_points",
    }

    family: Literal["mpm"] = "mpm"
    width: PositiveInt
    inner: PositiveInt = 256
    layers: NonNegativeInt
    heads: PositiveInt = 8
    positions: Literal["second_encoder", "inputs", "none"] = "second_encoder"
    points: PositiveInt = 64
    second_width: PositiveInt = 256
    second_inner: PositiveInt = 128
    second_layers: PositiveInt = 2
    second_heads: PositiveInt = 8
    masked: float = Field(default=0.3, gt=0, lt=1)
    mask: Literal["fixed", "learnt"] = "fixed"
    codes: PositiveInt = 512
    clusters: PositiveInt = 512
    reads_centres: bool = True
    normaliser_points: PositiveInt = 100_000
    dropout: NonNegativeFloat = 0.1

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        """Check that the heads share the widths evenly."""
        for width, heads in ((self.width, self.heads), (self.second_width, self.second_heads)):
            if width % heads:
                message = f"width {width} is no multiple of {heads} heads"
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _one_task(self) -> Self:
        """Check that one objective of the family is learnt: its output has the channels of one."""
        tasks = [name for name in self.objective_weights if name in self.OBJECTIVES]
        if len(tasks) != 1:
            known = ", ".join(self.OBJECTIVES)
            message = f"objectives {tasks}: give one of {known}; mpmv2 learns several at once"
            raise ValueError(message)
        return self

    @property
    def task(self) -> str:
        """The objective that is learnt."""
        (task,) = (name for name in self.objective_weights if name in self.OBJECTIVES)
        return task

    @property
    def outputs(self) -> int:
        """The channels of the output: classes, or normalised inputs."""
        return {"tokens": self.codes, "clusters": self.clusters}.get(self.task, len(COLUMNS))

    @property
    def hidden(self) -> tuple[int, int]:
        """One, the last of the first encoder before its output network, and its width."""
        return 1, self.width

    def reads(self) -> Reads:
        """Return the three inputs, and the token where it is predicted."""
        tokens = self.task == "tokens"
        return Reads(
            COLUMNS,
            per_point=(TOKEN,) if tokens else (),
            most_points=None if self.positions == "none" else self.points,
            codes=self.codes if tokens else 0,
            physical=True,
        )

    def reads_downstream(self) -> Reads:
        """Return the inputs of any jet: the backbone has no positions."""
        return replace(self.reads(), per_point=(), codes=0, most_points=None)

    def parameters(self) -> Parameters:
        """Return the count of the encoders, the mask token and the table of positions."""
        inputs, outputs = len(COLUMNS), self.outputs
        trained = encoder(inputs, self.width, self.inner, self.layers, outputs)
        if self.positions == "second_encoder":
            trained += encoder(
                outputs, self.second_width, self.second_inner, self.second_layers, outputs
            )
            trained += self.points * outputs
        constant = inputs + (self.points * inputs if self.positions == "inputs" else 0)
        if self.mask == "learnt":
            return Parameters(trained + constant)
        return Parameters(trained, constant)

    def flops_per_token(self, tokens: float) -> float:
        """Return 6 FLOPs a multiply-add of both encoders, those of attention among them."""
        products = encoder_products(
            len(COLUMNS), self.width, self.inner, self.layers, self.outputs, tokens
        )
        if self.positions == "second_encoder":
            products += encoder_products(
                self.outputs,
                self.second_width,
                self.second_inner,
                self.second_layers,
                self.outputs,
                tokens,
            )
        return 6.0 * products
