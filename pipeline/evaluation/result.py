"""What an evaluation or a probe finds: numbers with intervals, histograms, curves and matrices.

Axes: V values, K bins, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Intervals, Record, Scores

Floats = NDArray[np.float64]
RESAMPLES = 1000
INTERVAL = (16.0, 84.0)  # per cent: 68 % of resamples lie between
EDGES = (0.5, 99.5)  # per cent of the true values between the outermost edges


@dataclass(frozen=True)
class Histogram:
    """One quantity, as it is (`true`) and as the model has it (`made`): counts (K) between edges.

    What lies beyond the outermost edges (K + 1) is counted in the first and the last bin.
    """

    name: str
    unit: str
    edges: Sequence[float]
    true: Sequence[int]
    made: Sequence[int]


@dataclass(frozen=True)
class Curve:
    """One quantity against another (K each), with the 68 % interval of y where it is known.

    Those of one `group` are drawn together, apart from others.

    Raises:
        ValueError: The columns are not of one length; `low` and `high` may be empty.
    """

    name: str
    x_title: str
    y_title: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    group: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        lengths = [len(each) for each in (self.x, self.y, self.low, self.high)]
        if lengths not in ([lengths[0]] * 4, [lengths[0], lengths[0], 0, 0]):
            message = f"curve {self.name}: x, y, low, high of {lengths} values; expected as many."
            raise ValueError(message)


@dataclass(frozen=True)
class Matrix:
    """How often each class was taken for each: `counts`[true][predicted], C × C."""

    name: str
    labels: Sequence[str]
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True)
class WorkingPoint:
    """A cut on the score of a class: what passes it.

    `efficiency` is the share of the signal, `threshold` the lowest score that passes, `rejection`
    1/ε_B with the 68 % interval `low` to `high`; None where no background passes.
    """

    signal: str
    background: str
    efficiency: float
    threshold: float | None = None
    rejection: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class EvaluationResult:
    """What was found: `scores` by name, their 68 % intervals where known, and pictures.

    `about` says in a word or two what a score means, for the page.
    """

    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    histograms: Sequence[Histogram] = ()
    curves: Sequence[Curve] = ()
    matrices: Sequence[Matrix] = ()
    working_points: Sequence[WorkingPoint] = ()

    @property
    def pictures(self) -> "Pictures":
        """What is drawn of it."""
        return Pictures(
            histograms=tuple(self.histograms),
            curves=tuple(self.curves),
            matrices=tuple(self.matrices),
            working_points=tuple(self.working_points),
        )

    @property
    def numbers(self) -> tuple[Scores, Intervals]:
        """The scores, and the intervals of those that have one."""
        scores = {name: float(value) for name, value in self.scores.items()}
        ends = {name: (float(low), float(high)) for name, (low, high) in self.intervals.items()}
        return scores, {name: each for name, each in ends.items() if np.isfinite(each[0])}


class Pictures(Record):
    """`pictures.json`: what is drawn of an evaluation or a probe."""

    histograms: tuple[Histogram, ...] = ()
    curves: tuple[Curve, ...] = ()
    matrices: tuple[Matrix, ...] = ()
    working_points: tuple[WorkingPoint, ...] = ()


def histogram(
    name: str, true: NDArray[Any], made: NDArray[Any], *, unit: str = "1", bins: int = 40
) -> Histogram:
    """Return the histogram of true and made values (V each, not of the same number needed).

    The edges span 99 % of the true values; of integers each value is a bin, if there are few.
    Values that are no numbers are left out.

    Raises:
        ValueError: There is no true value.
    """
    true, made = (np.asarray(each, np.float64) for each in (true, made))
    true, made = true[np.isfinite(true)], made[np.isfinite(made)]
    if not len(true):
        message = f"histogram of {name}: no true value"
        raise ValueError(message)
    edges = _edges(true, bins)
    inside = (np.clip(each, edges[0], edges[-1]) for each in (true, made))
    counts = [np.histogram(each, edges)[0].tolist() for each in inside]
    return Histogram(name, unit, edges.tolist(), *counts)


def _edges(values: Floats, bins: int) -> Floats:
    low, high = np.percentile(values, EDGES)
    if np.array_equal(values, values.round()) and high - low < 4 * bins:
        step = max(1, round((high - low) / bins))
        return np.arange(np.floor(low) - 0.5, high + 0.5 + step, step)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1)


def mean_interval(values: Floats, weights: Floats, *, seed: int) -> tuple[float, float]:
    """Return the 68 % bootstrap interval of the weighted mean of `values` (V)."""
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(values), (RESAMPLES, len(values)))
    means = (values * weights)[chosen].sum(1) / weights[chosen].sum(1)
    low, high = np.percentile(means, INTERVAL)
    return float(low), float(high)
