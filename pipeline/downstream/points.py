"""What each point is: the kind of particle that made it, noise or not, its momentum."""

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import NonNegativeFloat, PositiveInt, model_validator

from pipeline.downstream.predicted import Predicted, classes
from pipeline.downstream.task import DownstreamTask


class PointTask(DownstreamTask):
    """A block of self-attention over the points of an event, and a linear layer."""

    SOURCE: ClassVar[str] = "arXiv:2508.14087: one self-attention head"
    SCORED_COLUMNS: ClassVar[frozenset[str] | None] = frozenset()

    width: PositiveInt = 256
    heads: PositiveInt = 8

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        """Check that the heads share the width evenly."""
        if self.width % self.heads:
            message = f"width {self.width} is no multiple of heads {self.heads}: change either"
            raise ValueError(message)
        return self


class ClassTask(PointTask):
    """Points in classes, by a focal loss whose exponent is `gamma` (0: cross-entropy)."""

    NAMES: ClassVar[tuple[str, ...]]
    SCORES: ClassVar[dict[str, str]] = {
        "accuracy": "Accuracy",
        "macro_recall": "Recall, macro",
        "macro_precision": "Precision, macro",
        "macro_f1": "F1, macro",
    }

    gamma: NonNegativeFloat = 2.0

    def predictions(self) -> Mapping[str, Predicted]:
        """Return the probability of each class of a point."""
        return {"probabilities": classes("point", self.NAMES)}
