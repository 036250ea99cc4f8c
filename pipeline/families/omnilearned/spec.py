"""OmniLearned: classes of jets and a flow that generates them (Bhimji et al., arXiv:2510.24066).

Its network is PET v2: attention of each point's neighbours, attention of all points and a few
learned tokens with a bias for every pair, and two heads; as ViniciusMikuni/OmniLearned at 922355d
(MIT) computes it. Axes: W width, L points of an event, K nearest points.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from pipeline.families.family import Parameters, Reads, linear
from pipeline.families.flow import Generative
from pipeline.families.interactions import Interaction, Interacts, interaction_of, with_columns
from pipeline.families.jet_columns import IDENTITY, IMPACT

Mode = Literal["pretrain", "classifier", "generator", "ftag"]
KINDS = 9  # hadrons, electrons, muons of either charge; neutral hadron, photon, anything else
NO_KIND = 3  # anything else
CLASSES, FLOW, PERTURBED, CONTRASTIVE = "classes", "flow", "perturbed", "contrastive"
POINTS = "points"
OF_MODE: dict[Mode, tuple[str, ...]] = {
    "pretrain": (CLASSES, FLOW, PERTURBED),
    "classifier": (CLASSES,),
    "generator": (FLOW,),
    "ftag": (CLASSES, POINTS),
}
FURTHER: dict[Mode, tuple[str, ...]] = {"pretrain": (CONTRASTIVE,)}
_PUBLISHED = {
    "classes": 210,
    "split": 200,
    "kinds": KINDS,
    "additional": IMPACT,
    "known_dropout": 0.1,
}


def dynamic_tanh(width: int) -> int:
    """Return the parameters of γ tanh(α x): γ of each channel, one α."""
    return width + 1


def perceptron(
    inputs: int, inner: int, outputs: int, *, norm: bool = True, bias: bool = True
) -> int:
    """Return the parameters of two linear layers, with a norm of the inner channels."""
    norms = dynamic_tanh(inner) if norm else 0
    return linear(inputs, inner, bias=bias) + linear(inner, outputs, bias=bias) + norms


class OmniLearned(Generative):
    """PET v2 on any points: four `columns` of jets, or of a store of the user's own.

    The `nearest` points of each are found in the columns `near`. `interaction` are the features of
    pairs of points: "pet" (ln m², ln ΔR, ln kT), another of ours, the user's own, or none (""); the
    network is given them of what it is given of the points, noise and all. `kinds` is the number of
    kinds of points, of the array of points `kind`, or of the charge and the flags of JetClass where
    that is ""; kind 0 adds nothing. `additional` are columns beside those that flow. "features.0"
    is column 0 of an array of points, for which the authors' files have a place. Both are
    shown in noise too, but not where events are generated, for who generates does not know them;
    so in training a share `known_dropout` of events goes without. With `shown` false they never
    are: where a backbone is fine-tuned on a store that has none. `ratio` is that of the inner
    channels of a feed-forward to its outer ones. `layers` and `head_layers` are
    blocks of the body and of each head (and of local attention), `tokens` stand for the event.

    `mode` "pretrain" has both heads, "classifier" and "generator" one. "ftag" has both, and no
    noise: the second one predicts which of `point_classes` each point is, by the array `point`,
    -1 where it is none. What a mode does not have has no weights. `dropout` drops without scaling
    what is left.

    Objectives: `classes` and, in noise, `perturbed` weigh a class by how rare it is in the batch
    (`class_weights` "batch", as published, or "none"). Labels from `split` on are told apart among
    themselves, and those below too; 0 is no split. `contrastive` brings together what is made of
    an event with and without noise.
    """

    TITLE: ClassVar[str] = "OmniLearned: PET v2, classes and flow matching"
    HELD_TO: ClassVar[str] = "the outputs of OmniLearned at 922355d within 1e-6 of double precision"
    SOURCE: ClassVar[str] = "arXiv:2510.24066; counts by layer reproduce the paper's 423M"
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {**_PUBLISHED, "width": 128, "layers": 8, "head_layers": 2, "heads": 8},
        "medium": {**_PUBLISHED, "width": 512, "layers": 12, "head_layers": 2, "heads": 16},
        "large": {**_PUBLISHED, "width": 1024, "layers": 28, "head_layers": 4, "heads": 32},
    }
    EVENT_TOKEN: ClassVar[bool] = True
    OBJECTIVES: ClassVar[tuple[str, ...]] = (CLASSES, FLOW, PERTURBED, CONTRASTIVE, POINTS)
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = dict.fromkeys(OF_MODE["pretrain"], 1.0)
    TOKENS: ClassVar[float] = 40  # about the constituents of a jet of JetClass
    MAY_DIFFER: ClassVar[frozenset[str]] = frozenset(
        {"mode", "classes", "point_classes", "kinds", "additional", "conditions"}
    )
    ANEW: ClassVar[tuple[str, ...]] = ("classes.", "generator.last.")
    FASTER: ClassVar[tuple[str, ...]] = (
        *("classes.", "generator.", "backbone.conditions.", "backbone.additional."),
    )
    NOT_SHAPES: ClassVar[frozenset[str]] = Generative.NOT_SHAPES | {
        *("near", "nearest", "kind", "additional", "interaction", "shown", "known_dropout"),
        *("split", "class_weights", "point"),
    }

    family: Literal["omnilearned"] = "omnilearned"
    mode: Mode = "pretrain"
    width: PositiveInt
    layers: PositiveInt
    head_layers: PositiveInt = 2
    heads: PositiveInt = 8
    tokens: PositiveInt = 4
    near: tuple[str, ...] = ("deta", "dphi")
    nearest: PositiveInt = 10
    ratio: PositiveInt = 2
    interaction: Interacts = "pet"
    kinds: NonNegativeInt = 0
    kind: str = ""
    additional: tuple[str, ...] = ()
    shown: bool = True
    known_dropout: float = Field(default=0.0, ge=0, lt=1)
    dropout: NonNegativeFloat = 0.0
    point_classes: NonNegativeInt = 0
    point: str = "data_pid"
    split: NonNegativeInt = 0
    class_weights: Literal["batch", "none"] = "batch"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Check that heads share the width, and that distances are of columns that are there."""
        if self.width % self.heads or self.width % 2:
            message = f"width {self.width} is no even multiple of {self.heads} heads"
            raise ValueError(message)
        missing = [name for name in self.near if name not in self.columns]
        if missing or not self.near:
            message = (
                f"near {list(self.near)}: distances are taken in some of the columns "
                f"{', '.join(self.columns)}"
            )
            raise ValueError(message)
        if self.kinds and not self.kind and self.kinds != KINDS:
            message = f"kinds {self.kinds}: of charges and flags there are {KINDS}; else name kind"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _mode_has(self) -> Self:
        """Check that the mode has the objectives, the classes and the inputs that are declared."""
        possible = OF_MODE[self.mode] + FURTHER.get(self.mode, ())
        for name in self.objectives:
            if name in self.OBJECTIVES and name not in possible:
                message = f'objective {name!r}: mode "{self.mode}" has {", ".join(possible)}'
                raise ValueError(message)
        if self.mode != "generator" and self.classes < 2:
            message = f"classes {self.classes}: a classifier needs two or more"
            raise ValueError(message)
        if (self.point_classes > 1) != (self.mode == "ftag"):
            message = (
                f'point_classes {self.point_classes}: mode "ftag" needs two or more, others none'
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _pairs_are_noised(self) -> Self:
        """Check that the interaction reads nothing that would stay without noise."""
        pairs = self.pairs
        clean = [name for name in pairs.columns if name not in self.columns] if pairs else []
        if clean and self.noisy:
            message = (
                f"interaction: {', '.join(clean)} would stay without noise, and reveal what is to "
                f'be generated; take columns among {", ".join(self.columns)}, or mode "classifier"'
            )
            raise ValueError(message)
        return self

    @property
    def noisy(self) -> bool:
        """Whether the mode has a flow, and so noise and times."""
        return FLOW in OF_MODE[self.mode]

    @property
    def of_point(self) -> int:
        """The numbers that the second head gives of a point."""
        return self.point_classes or len(self.columns)

    @property
    def pairs(self) -> Interaction | None:
        """The interaction, with its function; None if there is none."""
        return interaction_of(self.interaction)

    @property
    def pair_features(self) -> int:
        """The number of features of a pair of points."""
        return self.pairs.features if self.pairs else 0

    @property
    def objective_weights(self) -> Mapping[str, float]:
        """The weight of each objective, all 1 of those that the mode has."""
        return self.objectives or dict.fromkeys(OF_MODE[self.mode], 1.0)

    def objective_settings(self, name: str) -> Mapping[str, Any]:
        """Return how classes are weighted and split, and which array has those of points."""
        if name in (CLASSES, PERTURBED):
            return {"split": self.split, "weighted": self.class_weights == "batch"}
        return {"array": self.point} if name == POINTS else {}

    @property
    def architecture(self) -> dict[str, Any]:
        """What decides names and shapes: of columns and pair features not which, but how many."""
        counts = {"additional": len(self.additional), "interaction": self.pair_features}
        return {**super().architecture, **counts}

    @property
    def hidden(self) -> tuple[int, int]:
        """One, the last, and its width."""
        return 1, self.width

    @property
    def event_width(self) -> int:
        """The channels of all tokens of an event; without layers it has none."""
        return self.width * (self.tokens if self.layers else 1)

    def reads(self) -> Reads:
        """Return the columns that flow, those of pairs, of kinds and the additional ones.

        In mode "ftag" the classes of points, too.
        """
        return self._reads((self.point,) if self.mode == "ftag" else ())

    def reads_downstream(self) -> Reads:
        """Return the same without the label, and without classes of points."""
        return self.without_label(self._reads(()))

    def _reads(self, learnt: tuple[str, ...]) -> Reads:
        """Return what is read, with arrays of points that are learnt."""
        inputs = with_columns(self.columns, self.interaction)
        if not self.shown:
            return self.read(inputs, per_point=learnt)
        flags = IDENTITY if self.kinds and not self.kind else ()
        kind = (self.kind,) if self.kinds and self.kind else ()
        of_arrays = (name for name in self.additional if "." in name)
        arrays = dict.fromkeys(name.partition(".")[0] for name in (*kind, *of_arrays))
        further = (name for name in self.additional if "." not in name)
        columns = dict.fromkeys((*inputs, *further, *flags))
        return self.read(columns, per_point=tuple(dict.fromkeys((*arrays, *learnt))))

    def parameters(self) -> Parameters:
        """Return the counts of the body and of the heads that the mode has."""
        heads = self._classifier() * (self.mode != "generator")
        return Parameters(self._body() + heads + self._generator() * (self.mode != "classifier"))

    def _body(self) -> int:
        """Return the count of the backbone."""
        width, flows, inner = self.width, len(self.columns), self.ratio * self.width
        count = dynamic_tanh(flows) + perceptron(flows, inner, width)
        if self.pair_features:
            count += perceptron(self.pair_features, inner, self.heads, norm=False)
        count += perceptron(flows + self.pair_features, inner, width)
        count += (self.head_layers + self.layers) * self._block() + dynamic_tanh(width)
        if self.conditions:
            count += perceptron(len(self.conditions), width, width)
        if self.noisy:
            count += perceptron(width, inner, width, bias=False)
        if self.additional:
            count += perceptron(len(self.additional), inner, width, bias=False)
        return count + self.kinds * width + self.tokens * width

    def _block(self, norms: int = 2) -> int:
        """Return the count of a block of attention and feed-forward."""
        width = self.width
        return (
            norms * dynamic_tanh(width)
            + 4 * width**2
            + perceptron(width, self.ratio * width, width)
        )

    def _classifier(self) -> int:
        """Return the count of the head for classes."""
        wide = self.tokens * self.width
        head = perceptron(wide, self.ratio * wide, wide) + linear(wide, self.classes)
        return self.head_layers * self._block(norms=1) + head

    def _generator(self) -> int:
        """Return the count of the head for the flow, or for classes of points."""
        width = self.width
        count = self.head_layers * self._block() + linear(width, self.of_point)
        count += perceptron(width, self.ratio * width, width, norm=False)
        if self.labelled:
            count += self.classes * width + perceptron(width, self.ratio * width, width, norm=False)
        return count

    def flops_per_token(self, tokens: float) -> float:
        """Return the FLOPs of an event over the `tokens` points it has; no point has fewer near."""
        clean = self.mode != "generator"
        passes = [False] * clean + [True] * self.noisy  # with noise or without
        products = sum(self._body_products(tokens, noise=noise) for noise in passes)
        if clean:
            products += sum(self._classifier_products(tokens, noise) for noise in passes) / tokens
        if self.mode != "classifier":
            products += self._generator_products(tokens)
        return 6.0 * products

    def _others(self, *, noise: bool) -> int:
        """Return how many stand before the points beside the tokens: time, conditions."""
        return noise + bool(self.conditions)

    def _block_products(self, length: float) -> float:
        """Return the multiply-adds of a block for one of `length` points."""
        return (4 + 2 * self.ratio) * self.width**2 + 2 * length * self.width

    def _body_products(self, points: float, *, noise: bool) -> float:
        """Return the multiply-adds of the body for one of so many `points`."""
        width, inner, pairs = self.width, self.ratio * self.width, self.pair_features
        flows, near = len(self.columns), self.nearest
        length = points + self.tokens + self._others(noise=noise)
        products = float(inner * (flows + width))
        products += inner * (len(self.additional) + width) * bool(self.additional)
        products += near * inner * (flows + pairs + width)
        products += near * self.head_layers * self._block_products(near)
        if self.pairs is not None:
            number = (points + 1) / 2 if self.pairs.symmetric else points
            products += number * inner * (pairs + self.heads)
        products += self.layers * self._block_products(length) * length / points
        of_event = 2 * inner * width * noise
        of_event += width * (len(self.conditions) + width) * bool(self.conditions)
        return products + of_event / points

    def _classifier_products(self, points: float, noise: bool) -> float:
        """Return the multiply-adds of the head for classes, for an event."""
        width, seen, wide = self.width, points + self._others(noise=noise), self.tokens * self.width
        each = 2 * seen * width**2 + self.tokens * (
            (2 + 2 * self.ratio) * width**2 + 2 * seen * width
        )
        return self.head_layers * each + 2 * self.ratio * wide**2 + wide * self.classes

    def _generator_products(self, points: float) -> float:
        """Return the multiply-adds of the head for the flow, for one of so many `points`."""
        width, twice = self.width, 2 * self.ratio * self.width**2
        length = points + self.tokens + self._others(noise=self.noisy) + self.labelled
        products = self.head_layers * self._block_products(length) * length / points + twice
        return products + width * self.of_point + self.labelled * twice / points
