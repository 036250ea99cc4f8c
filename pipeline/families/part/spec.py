"""Particle Transformer (Qu, Li, Qian, arXiv:2202.03772): jets by attention with pairwise biases.

The function is that of the authors' code, jet-universe/particle_transformer and hqucms/weaver-core
(MIT). Size "sophon" is the one of Li et al., arXiv:2405.12972, for the 188 classes of JetClass-II.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from pipeline.families.family import Family, Parameters, Reads, Together, linear
from pipeline.families.interactions import Interacts, interaction_of, with_columns
from pipeline.families.jet_columns import CHOICES, Choice

LABEL = "label"
EXPANSION = 4  # channels of a feed-forward for each of the width


class ParT(Family):
    """Blocks of NormFormer with a bias for each pair, then a class token that attends to particles.

    `embedding` are the channels between inputs and width, `pair_widths` those between the pairwise
    features and the bias of each head. `bias_activation` puts a GELU behind the last norm of the
    pair network, as for JetClass; Sophon has none. `interaction` "" is the plain transformer of the
    paper's ablation. `class_widths` are hidden layers between the class token and the logits.

    `norm` "batch" is the published one, of inputs and pairs: in training an event then depends on
    the others of its process's micro-batch; "layer" is LayerNorm, with as many parameters. The
    authors' loader repeats each jet cyclically up to 128 particles, and their batch norm of inputs
    counts the copies in training; `padding` = 128 does the same, 0 counts each particle once.

    `dropout` is that of branches, activations and attention weights; class blocks have none.
    `initial` is the law of the initial weights: "2022" is that of the published networks; "2024",
    of later versions of the code, is Xavier's, with branches that shrink with depth.
    """

    TITLE: ClassVar[str] = "Particle Transformer: the class of a jet"
    HELD_TO: ClassVar[str] = "the outputs of weaver-core at 154db69 within 2e-6 of double precision"
    SOURCE: ClassVar[str] = "arXiv:2202.03772, §4 and appendix A; 2.14M parameters"
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "full": {"inputs": "full"},
        "kinpid": {"inputs": "kinpid"},
        "kin": {"inputs": "kin"},
        "plain": {"inputs": "full", "interaction": ""},
        "sophon": {"classes": 188, "bias_activation": False, "class_widths": (512,)},
    }
    EVENT_TOKEN: ClassVar[bool] = True
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("classes",)
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"classes": 1.0}
    TOKENS: ClassVar[float] = 40  # about the constituents of a jet of JetClass
    NOT_SHAPES: ClassVar[frozenset[str]] = Family.NOT_SHAPES | {"padding", "initial"}

    family: Literal["part"] = "part"
    inputs: Choice = "full"
    embedding: tuple[PositiveInt, ...] = (128, 512)
    width: PositiveInt = 128
    layers: NonNegativeInt = 8
    class_layers: PositiveInt = 2
    heads: PositiveInt = 8
    interaction: Interacts = "jets"
    pair_widths: tuple[PositiveInt, ...] = (64, 64, 64)
    bias_activation: bool = True
    class_widths: tuple[PositiveInt, ...] = ()
    classes: int = Field(default=10, ge=2)
    norm: Literal["batch", "layer"] = "batch"
    padding: NonNegativeInt = 0
    initial: Literal["2022", "2024"] = "2022"
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        """Check that the heads share the width evenly."""
        if self.width % self.heads:
            message = f"width {self.width} is no multiple of heads {self.heads}: change either"
            raise ValueError(message)
        return self

    @property
    def taken_together(self) -> Together | None:
        """Batch norm, whose mean and spread are of the events of all processes."""
        return Together("batch norm", in_all=True) if self.norm == "batch" else None

    @property
    def columns(self) -> tuple[str, ...]:
        """The inputs, and behind them what of the interaction's columns is not among them."""
        return with_columns(CHOICES[self.inputs], self.interaction)

    @property
    def hidden(self) -> tuple[int, int]:
        """One, the last, and its width."""
        return 1, self.width

    def reads(self) -> Reads:
        """Return the inputs, the momenta of which pairs are made, and the class."""
        return Reads(self.columns, per_event=(LABEL,), physical=True)

    def reads_downstream(self) -> Reads:
        """Return inputs and momenta."""
        return Reads(self.columns, physical=True)

    def parameters(self) -> Parameters:
        """Return the count with the layers of classes; full: 2,143,486."""
        blocks = (self.layers + self.class_layers) * self._block()
        last = 2 * self.width + sum(linear(a, b) for a, b in pairwise(self._class_sizes()))
        token = self.width
        return Parameters(self._embedding() + self._pairs() + blocks + token + last)

    def _embedding(self) -> int:
        """Return the count of what makes tokens of inputs: a norm before each layer."""
        sizes = (len(CHOICES[self.inputs]), *self.embedding, self.width)
        layers = pairwise(sizes)
        return 2 * sizes[0] + sum(2 * a + linear(a, b) for a, b in layers)

    def _pair_sizes(self) -> tuple[int, ...]:
        """Return the channels from pairwise features to the biases, none without interaction."""
        pairs = interaction_of(self.interaction)
        return (pairs.features, *self.pair_widths, self.heads) if pairs else ()

    def _class_sizes(self) -> tuple[int, ...]:
        """Return the channels from the class token to the logits."""
        return (self.width, *self.class_widths, self.classes)

    def _pairs(self) -> int:
        """Return the count of what makes a bias of pairwise features: a norm behind each layer."""
        sizes = self._pair_sizes()
        layers = pairwise(sizes)
        return 2 * sum(sizes[:1]) + sum(linear(a, b) + 2 * b for a, b in layers)

    def _block(self) -> int:
        """Return the count of one block, of particles or of the class token."""
        width, inner = self.width, EXPANSION * self.width
        attention = 4 * linear(width, width) + self.heads + 2 * 2 * width
        feed_forward = linear(width, inner) + linear(inner, width) + 2 * (width + inner)
        return attention + feed_forward + width

    def flops_per_token(self, tokens: float) -> float:
        """Return the FLOPs of a jet with all it reads, over its `tokens` particles.

        The first layers, of inputs and of pairs, hand no slope back to what they are given.
        """
        first, others = self.products(tokens)
        return (4.0 * first + 6.0 * others) / tokens

    def products(self, tokens: float) -> tuple[float, float]:
        """Return the multiply-adds of a jet of so many particles forward: first layers, others.

        Of a jet of 128 of size "full" that is 334.8 million; arXiv:2202.03772, table 3, has 340.
        """
        width, pairs = self.width, interaction_of(self.interaction)
        sizes = (len(CHOICES[self.inputs]), *self.embedding, width)
        first, *others = (tokens * a * b for a, b in pairwise(sizes))
        total = sum(others)
        if pairs:
            number = tokens * ((tokens + 1) / 2 if pairs.symmetric else tokens)
            sizes = self._pair_sizes()
            bias, *more = (number * a * b for a, b in pairwise(sizes))
            first, total = first + bias, total + sum(more)
        total += self.layers * tokens * (12 * width**2 + 2 * tokens * width)
        seen = tokens + 1  # the class token looks at itself, too
        total += self.class_layers * (2 * seen * (width**2 + width) + 10 * width**2)
        return first, total + sum(a * b for a, b in pairwise(self._class_sizes()))
