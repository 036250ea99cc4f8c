"""What models that generate sets of points by a flow share: what flows, and its conditions.

Flow matching: Lipman et al., arXiv:2210.02747. Points of noise, at time 1, flow to data, at 0.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import PositiveFloat, PositiveInt, model_validator

from pipeline.families.family import Family, Reads
from pipeline.families.jet_columns import OFFSETS

LABEL = "label"
MULTIPLICITY = "multiplicity"  # a condition that no store need hold: the points of an event / 100
# Mean and standard deviation of OmniLearned's noise, near those of its data (arXiv:2510.24066).
MOMENTS = {
    "deta": (0.0, 0.270949),
    "dphi": (0.0, 0.27426),
    "log_pt": (1.11398, 1.30273),
    "log_energy": (1.43384, 1.33559),
}
STANDARD = (0.0, 1.0)


class Generative(Family):
    """A model of sets of points, `columns` of which flow from noise to data.

    They are read in their own units, or as the store normalises them (`normalised`). `noise` is the
    mean and standard deviation of each in the noise; where it is not given, OmniLearned's of a
    jet's columns, and 0 and 1 of others. What is generated is of one of `classes`, by its `label`
    (1: no label is read), and of `conditions`: arrays of one number per event ("name.2" is column 2
    of an array), "multiplicity" among them. An probe generates in so many `steps`.
    """

    NOT_SHAPES: ClassVar[frozenset[str]] = Family.NOT_SHAPES | {
        *("columns", "normalised", "noise", "conditions", "most_points", "steps")
    }

    columns: tuple[str, ...] = OFFSETS
    normalised: bool = False
    noise: tuple[tuple[float, PositiveFloat], ...] = ()
    classes: PositiveInt = 1
    conditions: tuple[str, ...] = ()
    most_points: PositiveInt | None = None
    steps: PositiveInt = 128

    @model_validator(mode="after")
    def _columns_once(self) -> Self:
        """Check that there are columns, each once, and the noise of each or of none."""
        if not self.columns or len(set(self.columns)) != len(self.columns):
            message = f"columns {list(self.columns)}: give one or more, each once"
            raise ValueError(message)
        if self.noise and len(self.noise) != len(self.columns):
            message = (
                f"noise of {len(self.noise)} columns; there are {len(self.columns)}: "
                f"{', '.join(self.columns)}. Give [mean, standard deviation] of each"
            )
            raise ValueError(message)
        return self

    @property
    def architecture(self) -> dict[str, Any]:
        """What decides names and shapes: of columns and conditions not which, but how many."""
        counts = {"columns": len(self.columns), "conditions": len(self.conditions)}
        return {**super().architecture, **counts}

    @property
    def moments(self) -> tuple[tuple[float, float], ...]:
        """Mean and standard deviation of the noise in each column."""
        if self.noise:
            return self.noise
        known = {} if self.normalised else MOMENTS
        return tuple(known.get(name, STANDARD) for name in self.columns)

    @property
    def labelled(self) -> bool:
        """Whether the label of an event is read."""
        return self.classes > 1

    def of_events(self) -> tuple[str, ...]:
        """Return the arrays of events that the conditions are taken from."""
        stored = (name.partition(".")[0] for name in self.conditions if name != MULTIPLICITY)
        return tuple(dict.fromkeys(stored))

    @staticmethod
    def without_label(reads: Reads) -> Reads:
        """Return what is read but for the label, which heads for downstream tasks bring along."""
        return replace(reads, per_event=tuple(name for name in reads.per_event if name != LABEL))

    def read(self, columns: Iterable[str], per_point: tuple[str, ...] = ()) -> Reads:
        """Return what is read: `columns`, arrays `per_point`, the label and the conditions."""
        label = (LABEL,) if self.labelled else ()
        return Reads(
            columns=tuple(columns),
            per_point=per_point,
            per_event=(*label, *self.of_events()),
            most_points=self.most_points,
            physical=not self.normalised,
        )
