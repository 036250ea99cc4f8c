"""A downstream task of the user's: a class in one file that only the training programs load."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from pipeline.catalog import is_resolved, missing_from, own_code
from pipeline.downstream.task import DownstreamTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.drawing.event import Event

FUNCTIONS = ("build", "loss", "predict", "score")


def _whole(code: str, info: ValidationInfo) -> str:
    """Return "file.py:Name" with the file from the root on, if its class has all functions."""
    whole = own_code(code, info)
    file, _, name = code.rpartition(":")
    missing = [] if is_resolved(info) else missing_from(Path(file), FUNCTIONS, within=name)
    if missing:
        message = f"{file}: {name} has no {', '.join(missing)} (docs/downstream.md)"
        raise ValueError(message)
    return whole


class CustomTask(DownstreamTask):
    """The task that a class of the user's file holds: `code` is "file.py:Name".

    The class has `build`, `loss`, `predict` and `score`, as `TaskModule` and `Scoring` describe
    them, and may have `draw(event)`. `per_point` and `per_event` are the arrays of truth in the
    store, `scores` the titles of the scores to show, the most important first. `settings` are for
    the class to read.
    """

    TITLE: ClassVar[str] = "a task of your own, in one file"
    SOURCE: ClassVar[str] = "docs/downstream.md"

    task: Literal["custom"] = "custom"
    code: Annotated[str, Field(pattern=r"\.py:[A-Za-z_]\w*$"), AfterValidator(_whole)]
    per_point: tuple[str, ...] = ()
    per_event: tuple[str, ...] = ()
    scores: dict[str, str] = Field(min_length=1)
    smaller_is_better: tuple[str, ...] = ()
    settings: dict[str, Any] = {}

    @model_validator(mode="after")
    def _has_truth(self) -> Self:
        """Check that there is truth to learn, and that each score said to be small is shown."""
        if not self.per_point and not self.per_event:
            message = "name the truth: per_point or per_event, arrays of the store"
            raise ValueError(message)
        for name in self.smaller_is_better:
            if name not in self.scores:
                message = f"smaller_is_better: {name!r} is none of scores: {', '.join(self.scores)}"
                raise ValueError(message)
        return self

    @property
    def title(self) -> str:
        """The name of the class."""
        return self.code.rpartition(":")[2]

    def truth_per_point(self) -> tuple[str, ...]:
        """Return the arrays of truth of points that are learnt."""
        return self.per_point

    def truth_per_event(self) -> tuple[str, ...]:
        """Return the arrays of truth of events that are learnt."""
        return self.per_event

    def predicts(self) -> tuple[Any, ...]:
        """Return what is predicted: that of the same class of the same file compares."""
        return *super().predicts(), self.code

    def titles(self, scores: Iterable[str]) -> Mapping[str, str]:
        """Return the titles that the declaration gives."""
        return self.scores

    def badness(self, score: str, value: float) -> float:
        """Return a number that is the smaller, the better `value` is as a `score`."""
        return value if score in self.smaller_is_better else -value

    def pictures(self, events: "Iterable[Event]") -> "dict[str, NDArray[Any]]":
        """Return the events as the class draws them; this runs the user's file."""
        drawn: dict[str, NDArray[Any]] = self.beside("plugin").pictures(self, events)
        return drawn
