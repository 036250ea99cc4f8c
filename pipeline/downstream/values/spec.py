"""Numbers that belong to an event, of any discipline: a set of points and what it is of."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import PositiveFloat, PositiveInt, model_validator

from pipeline.downstream.predicted import Predicted
from pipeline.downstream.task import DownstreamTask


class ValueTask(DownstreamTask):
    """Numbers of each event, from its state by one hidden layer of `inner` channels.

    `targets` are arrays of one number per event in the store, each with its mean and spread: it is
    learnt as (value - mean) / spread, so that several are of one size.
    """

    TITLE: ClassVar[str] = "regression of events"
    SOURCE: ClassVar[str] = "docs/other-disciplines.md"
    SCORES: ClassVar[dict[str, str]] = {"r2": "R²", "relative_error": "RMS error over spread"}
    SMALLER_IS_BETTER: ClassVar[frozenset[str]] = frozenset({"relative_error"})
    SCORED_COLUMNS: ClassVar[frozenset[str] | None] = frozenset()

    task: Literal["values"] = "values"
    targets: dict[str, tuple[float, PositiveFloat]]
    inner: PositiveInt = 128

    @model_validator(mode="after")
    def _some(self) -> Self:
        """Check that there is something to learn."""
        if not self.targets:
            message = "targets: name an array of the store, { sigma8 = [mean, spread] }"
            raise ValueError(message)
        return self

    def truth_per_event(self) -> tuple[str, ...]:
        """Return the arrays of the targets."""
        return tuple(self.targets)

    def predictions(self) -> Mapping[str, Predicted]:
        """Return the value of each target, in the units of the store."""
        return {"values": Predicted("event", tuple(self.targets))}
