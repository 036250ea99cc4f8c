"""What every family of models declares: its sizes, what it reads, and its price by arithmetic.

Nothing here knows torch, so a login node can list and price every model. The module is built by
`module.py` in the folder of the family.
"""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    PositiveFloat,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pipeline.catalog import INCIDENTAL, Declaration, own_code
from pipeline.families.parametrisation import Parametrisation
from pipeline.families.recipe import Recipe


@dataclass(frozen=True)
class Parameters:
    """The numbers of parameters that are trained, and of those that stay as they were drawn."""

    trained: int
    frozen: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.trained + self.frozen


@dataclass(frozen=True)
class Reads:
    """What a model reads of a store.

    `columns` of `points`, in this order; arrays `per_point` and `per_event` by name; `neighbours`
    of each point; `tables`, the constants of a detector. An event may hold
    from `least_points` to `most_points`. `codes` is the number of codes of the tokenizer whose
    tokens are read, 0 where none are. With `physical` columns come in their own units, not
    normalised as the store says, and may be made of others (`pipeline.data.jet_inputs`).
    """

    columns: tuple[str, ...]
    per_point: tuple[str, ...] = ()
    per_event: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    neighbours: int = 0
    least_points: int = 1
    most_points: int | None = None
    codes: int = 0
    physical: bool = False


@dataclass(frozen=True)
class Together:
    """What is learned of the events taken forward together, in all processes or in each of them."""

    what: str
    in_all: bool = False


class Family(Declaration):
    """A model as a campaign asks for it; each family is a subclass in a file of its own.

    `SIZES` are the published ones: `size` fills in what is not given beside it. `OBJECTIVES` are
    functions in `objective.py` of the folder, which take the module's output and a batch and return
    named losses. `TAKES_HEADS` says that `module.py` has a function `backbone`, on which heads of
    downstream tasks are put; `EVENT_TOKEN` that it has a token that stands for the event;
    `LEARNS_SPACE` that the backbone makes a graph in a space in which tracks are near.
    `RULES` are the parametrisations that the family has beside the standard one: "mup" needs a
    field `width`, "completep" also `layers`, and a module whose blocks take `residual_scale`.
    `WIDENS` are the fields that grow along with the width: heads, whose channels stay as many.
    `HELD_TO` names the authors' code to whose outputs `python -m tests.golden` holds the module,
    and the largest difference over the largest value; it is empty where the family is our reading
    of a paper. `TOKENS` is the mean number of tokens of an event of the data it was made for.
    `NOT_SHAPES` are the fields that decide no name or shape of a weight.
    `weights` is a folder of `cosmotron export` or `cosmotron weights import` to start from. In the
    fields `MAY_DIFFER` it may be of another model, which is fine-tuned then: weights that have
    another name or shape here stay as they are drawn, and so do those whose names begin with one of
    `ANEW`. What begins with one of `FASTER` learns at `head_rate` times the rate of a training.
    `objectives` gives the weight of each loss in the sum that is minimised, those of
    `DEFAULT_OBJECTIVES` if it is empty; "file.py:name" is an objective of the user's.
    """

    TITLE: ClassVar[str]
    SOURCE: ClassVar[str]
    HELD_TO: ClassVar[str] = ""
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    OBJECTIVES: ClassVar[tuple[str, ...]]
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]]
    TAKES_HEADS: ClassVar[bool] = True
    LEARNS_SPACE: ClassVar[bool] = False
    EVENT_TOKEN: ClassVar[bool] = False
    RULES: ClassVar[tuple[str, ...]] = ()
    WIDENS: ClassVar[tuple[str, ...]] = ()
    TOKENS: ClassVar[float]
    MAY_DIFFER: ClassVar[frozenset[str]] = frozenset()
    ANEW: ClassVar[tuple[str, ...]] = ()
    FASTER: ClassVar[tuple[str, ...]] = ()
    NOT_SHAPES: ClassVar[frozenset[str]] = frozenset({"size", "weights", "objectives", "dropout"})

    family: str
    size: Annotated[str, INCIDENTAL] = ""
    weights: str = ""
    objectives: dict[str, PositiveFloat] = {}
    parametrisation: Parametrisation = Parametrisation()

    @field_validator("weights")
    @classmethod
    def _anywhere(cls, folder: str) -> str:
        """Return the folder as a job finds it, which starts elsewhere than the user's command."""
        return str(Path(folder).absolute()) if folder else ""

    @field_validator("objectives")
    @classmethod
    def _whole_paths(cls, objectives: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        """Return the objectives, those of the user's files from the root on, if these have them."""
        return {
            own_code(name, info) if ".py:" in name else name: weight
            for name, weight in objectives.items()
        }

    @model_validator(mode="before")
    @classmethod
    def _of_size(cls, given: Any) -> Any:
        """Fill in what the named size says and the declaration does not."""
        size = given.get("size", "") if isinstance(given, dict) else ""
        if not size:
            return given
        if size not in cls.SIZES:
            known = ", ".join(cls.SIZES) or "none: give each number"
            message = f"size {size!r} is none of this family's: {known}"
            raise ValueError(message)
        return {**cls.SIZES[size], **given}

    @model_validator(mode="after")
    def _known_objectives(self) -> "Family":
        """Check that each objective is this family's or custom."""
        for name in self.objectives:
            if name not in self.OBJECTIVES and ".py:" not in name:
                known = ", ".join(self.OBJECTIVES)
                message = (
                    f"objective {name!r}: this family has {known}; a custom one is file.py:name"
                )
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _known_rule(self) -> "Family":
        """Check that the family has the rule, and a model of the base width."""
        rule = self.parametrisation.rule
        if rule not in ("standard", *self.RULES):
            known = ", ".join(("standard", *self.RULES))
            message = f"parametrisation: rule {rule!r} is none of this family's: {known}"
            raise ValueError(message)
        try:
            _ = self.base
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            message = f"parametrisation: no model of base_width: {where} {first['msg']}".strip()
            raise ValueError(message) from error
        return self

    @classmethod
    def fidelity(cls) -> str:
        """Return in a few words by what the function of the model is known to be the published."""
        return f"held to {cls.HELD_TO}" if cls.HELD_TO else "our reading of the source"

    @classmethod
    def beside(cls, name: str) -> Any:
        """Return the module `name` in the folder of the family, None where there is none.

        "module", "objective" and "probe" import torch, so only training programs call this.
        """
        package = cls.__module__.rpartition(".")[0]
        if importlib.util.find_spec(f"{package}.{name}") is None:
            return None
        return importlib.import_module(f"{package}.{name}")

    @classmethod
    def recipes(cls) -> Mapping[str, Recipe]:
        """Return how the authors trained it, by "pretrain", "tokenize" or a downstream task.

        "pretrain sophon" is that of one size, where sizes differ. They stand in `recipe.py` of the
        folder, if it has one.
        """
        found = cls.beside("recipe")
        return found.RECIPES if found is not None else {}

    @classmethod
    def recipe(cls, stage: str, size: str = "") -> Recipe | None:
        """Return how the authors trained a model of `size` in `stage`, None where it is unknown."""
        recipes = cls.recipes()
        return recipes.get(f"{stage} {size}", recipes.get(stage))

    @property
    def base(self) -> Self:
        """The model of base width, standard and as deep, that a parametrisation scales from."""
        width = self.parametrisation.base_width
        if width is None:
            return self
        fields = self.model_dump(exclude={"parametrisation"})
        along = {name: fields[name] * width / fields["width"] for name in self.WIDENS}
        return type(self)(**{**fields, **along, "width": width})

    @property
    def objective_weights(self) -> Mapping[str, float]:
        """The weight of each objective in the sum that is minimised."""
        return self.objectives or self.DEFAULT_OBJECTIVES

    def objective_settings(self, name: str) -> Mapping[str, Any]:
        """Return what the family's objective `name` takes beside output and batch, by keyword."""
        return {}

    @property
    def architecture(self) -> dict[str, Any]:
        """What decides names and shapes of the weights: all but how it is trained."""
        return self.model_dump(mode="json", exclude=set(self.NOT_SHAPES))

    def unlike(self, other: "Family", but: frozenset[str] = frozenset()) -> list[str]:
        """Return the fields, `but` for some, by which weights of `other` are not for this model."""
        mine, its = self.architecture, other.architecture
        if mine["family"] != its["family"]:
            return ["family"]
        return [name for name in mine if name not in but and its.get(name) != mine[name]]

    @property
    def taken_together(self) -> Together | None:
        """What a training learns of the events that are taken forward together, if anything."""
        return None

    @property
    def takes_heads(self) -> bool:
        """Whether the heads of downstream tasks can be put on it."""
        return self.TAKES_HEADS

    @property
    def has_event_token(self) -> bool:
        """Whether the backbone has a token that stands for the event."""
        return self.EVENT_TOKEN

    @property
    def hidden(self) -> tuple[int, int]:
        """The number of hidden states that a head is given of a point, and their width."""
        raise NotImplementedError

    @property
    def event_width(self) -> int:
        """The channels of an event's state, or of the mean of its points where it has none."""
        return self.hidden[1]

    def without_layers(self) -> Self:
        """Return the model whose backbone embeds the points and has no layers."""
        return self.model_copy(update={"layers": 0})

    def with_one_state(self) -> Self:
        """Return the model as a head on stored features takes it: one state of each point."""
        return self.model_copy(update={"layers": 1})

    def refuses_mode(self, mode: str) -> str:
        """Return why it cannot be fine-tuned in `mode`, empty where it can."""
        return "" if self.takes_heads else f"no head can be put on {self.TITLE}"

    def refuses_labels(self, possible: frozenset[int], certain: frozenset[int]) -> str:
        """Return why it cannot be pretrained on events of such labels, empty where it can.

        `possible` are the labels that events may have, `certain` those that some of them have. A
        label must be one of the field `classes`, where the family has it.
        """
        del possible
        classes: int | None = getattr(self, "classes", None)
        beyond = [each for each in certain if classes is not None and not 0 <= each < classes]
        if not beyond:
            return ""
        return (
            f"its events have labels from {min(certain)} to {max(certain)}; the model has "
            f"{classes} classes, counted from 0. Give it as many `classes` as the store has."
        )

    def reads(self) -> Reads:
        """Return what the model reads of a store."""
        raise NotImplementedError

    def reads_downstream(self) -> Reads:
        """Return what the backbone alone reads: nothing that only pretraining learns from."""
        return replace(self.reads(), neighbours=0)

    def parameters(self) -> Parameters | None:
        """Return the numbers of parameters of the model with its pretraining heads, if known."""
        raise NotImplementedError

    def flops_per_token(self, tokens: float) -> float | None:
        """Return the FLOPs of forward and backward per token of an event of `tokens`, if known.

        A multiply-add is two FLOPs, backward is twice forward; norms, activations and embeddings
        that are look-ups do not count (Kaplan et al., arXiv:2001.08361, §2.1).
        """
        raise NotImplementedError

    def flops_per_point(self, points: float) -> float | None:
        """Return the FLOPs of training per point of an event of `points` points, if known.

        A token is a point, where a family does not say otherwise.
        """
        return self.flops_per_token(points)

    @property
    def about(self) -> dict[str, str]:
        """What a file of weights says of its model."""
        known = self.model_dump(include={"family", "size"})
        return {name: value for name, value in known.items() if value}


def linear(inputs: int, outputs: int, *, bias: bool = True) -> int:
    """Return the number of parameters of a linear layer."""
    return inputs * outputs + bias * outputs
