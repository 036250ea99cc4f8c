"""What a downstream task declares: the truth it learns, its scores, and where its code lies.

A folder `downstream/<task>/` holds all of it. `spec.py` declares the task (this class); beside it
lie `module.py` (`TaskModule`), `score.py` (`Scoring`) and, if the default display will not do,
`display.py` (`Display`). Only `module.py` may import torch. Published numbers, if there are any,
are `LITERATURE` in `published.py`.
"""

import importlib
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, cast

from pydantic import model_validator

from pipeline.catalog import Declaration
from pipeline.downstream.predicted import Predicted

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from pipeline.downstream.truth import Rows, Truth
    from pipeline.drawing.event import Event
    from pipeline.evaluation.result import EvaluationResult
    from pipeline.families import Family
    from pipeline.nn.batch import Batch


class TaskModule(Protocol):
    """`module.py` of a downstream task: the head, its loss and its prediction. P points, B events.

    `task` is the declaration, so that a function reads its settings there.
    """

    def build(self, task: Any, model: "Family", /) -> "nn.Module":
        """Return the head: a module that takes what a backbone returns (`Hidden`) and a batch."""

    def loss(self, output: Any, batch: "Batch", task: Any, /) -> "dict[str, Tensor]":
        """Return the named losses of the head's output, each a mean over the events of a batch."""

    def predict(self, output: Any, batch: "Batch", task: Any, /) -> "dict[str, Tensor]":
        """Return the predictions by name: arrays of P rows, or of B, all of the same kind."""


class Scoring(Protocol):
    """`score.py` of a downstream task: its metrics, on numpy arrays."""

    def score(
        self, predicted: "Rows", truth: "Truth", task: Any, seed: int, /
    ) -> "EvaluationResult":
        """Return the scores of the predictions for all events, with their intervals."""


class Reducing(Scoring, Protocol):
    """A `score.py` that needs less than all predictions: `score` is both functions in a row."""

    def reduced(self, predicted: "Rows", truth: "Truth", task: Any, /) -> "Rows":
        """Return what the score needs of some events; of more, one behind the other."""

    def score_reduced(self, rows: "Rows", task: Any, seed: int, /) -> "EvaluationResult":
        """Return the scores of all events."""


class Display(Protocol):
    """`display.py` of a downstream task: how an event is drawn, and the words below.

    It may also have `scene(event)`, the event in space (`pipeline.drawing.scene`), or None.
    """

    CAPTION: str

    def draw(self, event: "Event", names: Sequence[str], /) -> "Figure | None":
        """Return truth and prediction of an event, None where it lacks what is drawn.

        `names` are those of the classes, empty where there are none.
        """


class DownstreamTask(Declaration):
    """A downstream task as a campaign declares it; each is a subclass in a folder of its own.

    `PER_POINT` and `PER_EVENT` are the arrays of truth in the store. `SCORES` are the scores that a
    table of results shows, with their titles, the most important first. A score is better the
    larger it is, but for those in `SMALLER_IS_BETTER`, and those in `ZERO_IS_BEST`. `CHARTED` are
    the scores drawn against the number of labels, the first of `SCORES` if there are none. `NOTE`
    stands below the table of results. `SCORED_COLUMNS` are the columns of the points that a score
    looks at, None for all: the others are not kept in memory until all events are predicted.
    """

    TITLE: ClassVar[str] = ""
    SOURCE: ClassVar[str] = ""
    PER_POINT: ClassVar[tuple[str, ...]] = ()
    PER_EVENT: ClassVar[tuple[str, ...]] = ()
    SCORES: ClassVar[dict[str, str]] = {}
    SMALLER_IS_BETTER: ClassVar[frozenset[str]] = frozenset()
    ZERO_IS_BEST: ClassVar[frozenset[str]] = frozenset()
    CHARTED: ClassVar[tuple[str, ...]] = ()
    NOTE: ClassVar[str] = ""
    SCORED_COLUMNS: ClassVar[frozenset[str] | None] = None

    task: str

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        """Check that what a training and an evaluation will import lies beside the declaration.

        A campaign is refused at once, rather than after the node-hours of its trainings.
        """
        for name in ("module", "score"):
            if not self._has(name):
                message = f"the folder of the task has no {name}.py (docs/downstream.md)"
                raise ValueError(message)
        return self

    @classmethod
    def _has(cls, name: str) -> bool:
        """Return whether a module `name` lies in the folder of the task."""
        package = cls.__module__.rpartition(".")[0]
        return importlib.util.find_spec(f"{package}.{name}") is not None

    @classmethod
    def beside(cls, name: str) -> Any:
        """Return the module `name` in the folder of the task, None where there is none.

        "module" imports torch, so only training programs ask for it.
        """
        package = cls.__module__.rpartition(".")[0]
        return importlib.import_module(f"{package}.{name}") if cls._has(name) else None

    def module(self) -> TaskModule:
        """Return the functions of the head; this imports torch."""
        return cast("TaskModule", self.beside("module"))

    def scoring(self) -> Scoring:
        """Return the metrics."""
        return cast("Scoring", self.beside("score"))

    @property
    def title(self) -> str:
        """The task in a word or two, for a table of results."""
        return self.TITLE or self.task

    def truth_per_point(self) -> tuple[str, ...]:
        """Return the arrays of truth of points that are learnt."""
        return self.PER_POINT

    def truth_per_event(self) -> tuple[str, ...]:
        """Return the arrays of truth of events that are learnt."""
        return self.PER_EVENT

    def predictions(self) -> Mapping[str, Predicted]:
        """Return what `predict` of the module returns, by name; arrays not named are as they are.

        So the table of predictions has columns with names and units, and a plan knows their size.
        """
        return {}

    def predicts(self) -> tuple[Any, ...]:
        """Return what is predicted: tasks that predict the same for the same events compare."""
        return tuple(self.titles(())), self.truth_per_point(), self.truth_per_event()

    def refuses_mode(self, mode: str, model: "Family") -> str:
        """Return why `model` cannot be fine-tuned on it in `mode`, empty where it can."""
        return ""

    def refuses_labels(self, possible: frozenset[int], certain: frozenset[int]) -> str:
        """Return why it cannot be learnt from events of such labels, empty where it can.

        `possible` are the labels that events may have, `certain` those that some of them have.
        """
        return ""

    def titles(self, scores: Iterable[str]) -> Mapping[str, str]:
        """Return the titles of the scores to show of an evaluation that has `scores`."""
        return self.SCORES

    def badness(self, score: str, value: float) -> float:
        """Return a number that is the smaller, the better `value` is as a `score`."""
        if score in self.ZERO_IS_BEST:
            return abs(value)
        return value if score in self.SMALLER_IS_BETTER else -value

    def pictures(self, events: "Iterable[Event]") -> "dict[str, NDArray[Any]]":
        """Return pictures of events to keep beside their arrays, where a report cannot draw."""
        return {}

    def truth_to_show(self, truth: "Truth") -> "dict[str, NDArray[Any]]":
        """Return the arrays of truth that a display of an event is given."""
        return {**truth.per_point, **truth.per_event}
