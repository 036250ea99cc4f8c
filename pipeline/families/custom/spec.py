"""A model of the user's, in one file that only the training programs load."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationInfo,
    model_validator,
)

from pipeline.catalog import is_resolved, missing_from
from pipeline.families.family import Family, Parameters, Reads

BACKBONE, EMBEDDING = "backbone", "embedding"


def _existing(path: Path, info: ValidationInfo) -> Path:
    """Return `path` from the root on, if there is such a file."""
    if is_resolved(info):
        return path
    if not path.is_file():
        message = f"{path}: no such file, from {Path.cwd()}"
        raise ValueError(message)
    return path.resolve()


class Custom(Family):
    """The model that `function(settings)` in the file `code` returns.

    Each of `objectives` is a function of the same file, or of another as "file.py:name". `columns`,
    `per_point`, `per_event`, `tables` and `neighbours` are read from the store; `settings` are the
    file's.

    Downstream tasks can be put on it if `hidden_width` is given: then `backbone(settings)` in the
    file returns the module whose output a head takes. That is `hidden_states` states of each point,
    (P, hidden_width) each, and, if `event_state_width` is given, a state of each event.
    """

    TITLE: ClassVar[str] = "a model of your own, in one file"
    SOURCE: ClassVar[str] = "docs/add-a-model.md"
    OBJECTIVES: ClassVar[tuple[str, ...]] = ()
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {}
    TOKENS: ClassVar[float] = 0

    family: Literal["custom"] = "custom"
    code: Annotated[Path, AfterValidator(_existing)]
    function: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] = "build"
    settings: dict[str, Any] = {}
    columns: tuple[str, ...]
    per_point: tuple[str, ...] = ()
    per_event: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    neighbours: NonNegativeInt = 0
    most_points: PositiveInt | None = None
    hidden_width: PositiveInt | None = None
    hidden_states: PositiveInt = 1
    event_state_width: PositiveInt | None = None
    backbone: str = BACKBONE

    @model_validator(mode="after")
    def _known_objectives(self) -> "Custom":
        """Check that there is something to minimise; only the file knows what there is."""
        if not self.objectives:
            message = f"objectives: name those of {self.code.name} to minimise, with their weights"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _has_functions(self, info: ValidationInfo) -> Self:
        """Check that the file defines the model, and the backbone if heads are to be put on it."""
        if is_resolved(info):
            return self
        needed = [self.function, *([self.backbone] if self.takes_heads else [])]
        needed += [name for name in self.objectives if ".py:" not in name]
        for name in missing_from(self.code, needed):
            message = f"{self.code}: defines no {name!r} (docs/add-a-model.md)"
            raise ValueError(message)
        return self

    @property
    def objective_weights(self) -> Mapping[str, float]:
        """The weights, of objectives in the same file where no other is named."""
        return {
            name if ".py:" in name else f"{self.code}:{name}": weight
            for name, weight in self.objectives.items()
        }

    @property
    def takes_heads(self) -> bool:
        """Whether the file has a backbone, by the width of its states."""
        return self.hidden_width is not None

    @property
    def has_event_token(self) -> bool:
        """Whether the backbone has a state for each event."""
        return self.event_state_width is not None

    @property
    def hidden(self) -> tuple[int, int]:
        """The states of a point that a head is given, and their width; 0 without a backbone."""
        return self.hidden_states, self.hidden_width or 0

    @property
    def event_width(self) -> int:
        """The channels of an event's state, or of the mean of its points where it has none."""
        return self.event_state_width or self.hidden[1]

    def without_layers(self) -> Self:
        """Return the model whose backbone is `embedding(settings)` in the file: points embedded."""
        return self.model_copy(update={"backbone": EMBEDDING})

    def with_one_state(self) -> Self:
        """Return the model as one with a single state of each point."""
        return self.model_copy(update={"hidden_states": 1})

    def refuses_mode(self, mode: str) -> str:
        """Return why it cannot be fine-tuned in `mode`, empty where it can."""
        if not self.takes_heads:
            return (
                f"no head can be put on it: give it hidden_width, and {self.code.name} a function "
                f"{BACKBONE}(settings)"
            )
        if mode == "head" and missing_from(self.code, [EMBEDDING]):
            return (
                f'mode "head" trains on embedded points, and {self.code.name} defines no '
                f"{EMBEDDING}(settings): add it, or leave the mode out"
            )
        return ""

    def reads(self) -> Reads:
        """Return what the declaration says."""
        return Reads(
            self.columns,
            self.per_point,
            self.per_event,
            self.tables,
            self.neighbours,
            most_points=self.most_points,
        )

    def parameters(self) -> Parameters | None:
        """Return None: only the file knows."""
        return None

    def flops_per_token(self, tokens: float) -> float | None:
        """Return None: only the file knows."""
        return None
