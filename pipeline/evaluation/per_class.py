"""Each class by itself: against the rest, and against the background as published.

Axes: N points or jets, C classes, B bins of probability.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.classified import BINS, Classified, Scores, bins
from pipeline.evaluation.intervals import Interval, of_fraction
from pipeline.evaluation.ranking import (
    Ranked,
    auc,
    ranked,
    rejection,
    rejection_intervals,
    roc,
    threshold,
)
from pipeline.evaluation.result import Curve, EvaluationResult, WorkingPoint
from pipeline.evaluation.significance import improvement

BACKGROUND, REST = "QCD", "the rest"
ALONE = "each class"  # the group of curves of one class against the rest
EFFICIENCIES = (0.3, 0.5, 0.7, 0.9, 0.99)
# Signal efficiencies other than 50 %: Qu, Li, Qian, arXiv:2202.03772, table 1.
PUBLISHED = {"Hqql": 0.99, "Tbl": 0.995}
MOST_CLASSES = 20  # that are looked at one by one


@dataclass(frozen=True)
class Pair:
    """A signal and its background by falling score of the signal."""

    signal: str
    background: str
    found: Ranked

    @property
    def efficiencies(self) -> list[float]:
        """The signal efficiencies at which the rejection is told."""
        published = PUBLISHED.get(self.signal) if self.background == BACKGROUND else None
        return sorted({*EFFICIENCIES, *([published] if published else [])})


@dataclass(frozen=True)
class OfPair:
    """What a signal's cuts leave of its background: `number` of it, working points and curves.

    `of_cuts` is how much a cut improves the significance, of the only pair of two classes.
    """

    signal: str
    background: str
    number: int
    points: Sequence[WorkingPoint]
    roc: Curve
    of_cuts: EvaluationResult


def of_pairs(found: Classified, groups: int, *, seed: int) -> list[OfPair]:
    """Return what is found of each of the `pairs`, one after the other."""
    return [_of_pair(pair, found, groups, seed) for pair in pairs(found)]


def _of_pair(pair: Pair, found: Classified, groups: int, seed: int) -> OfPair:
    """Return the working points, with 68 % intervals, and the curves of a pair."""
    ends = rejection_intervals(pair.found, pair.efficiencies, groups, seed=seed)
    both = zip(pair.efficiencies, ends, strict=True)
    is_only = len(found.names) == 2
    return OfPair(
        signal=pair.signal,
        background=pair.background,
        number=len(pair.found.background),
        points=[_working_point(pair, efficiency, interval) for efficiency, interval in both],
        roc=roc(pair.found),
        of_cuts=improvement(pair.found, groups, seed=seed) if is_only else EvaluationResult({}),
    )


def pairs(found: Classified) -> Iterator[Pair]:
    """Yield signals and backgrounds: of two classes the second and the first.

    Of more, each class against "QCD" by p_S/(p_S + p_B), if that is one of them (Qu, Li, Qian,
    arXiv:2202.03772), and each against all others by its probability.
    """
    names = list(found.names)
    if len(names) == 2:
        yield Pair(names[1], names[0], _ranked(found, 1))
        return
    yield from _against_background(found)
    if len(names) <= MOST_CLASSES:
        for index, name in enumerate(names):
            yield Pair(name, REST, _ranked(found, index))


def _ranked(found: Classified, index: int) -> Ranked:
    """Return all by the probability of the class `index`, which is the signal."""
    column = np.ascontiguousarray(found.scores[:, index])
    return ranked(column, found.is_of(index), found.group)


def areas(found: Classified) -> dict[str, tuple[float, Interval]]:
    """Return the area under the ROC curve of each class against the rest, and its interval."""
    if not 2 < len(found.names) <= MOST_CLASSES:
        return {}
    return {
        name: auc(found.is_of(index).astype(np.int8), found.scores[:, index], found.group)
        for index, name in enumerate(found.names)
    }


def curves(found: Classified, all_pairs: Sequence[OfPair]) -> list[Curve]:
    """Return the ROC curve of each pair, and the calibration of each class."""
    if len(found.names) == 2:
        return [all_pairs[0].roc]
    of_all = [
        replace(
            each.roc,
            name=f"ROC, {each.signal}",
            x_title=f"efficiency of {each.signal}",
            y_title=f"rejection of {each.background}",
            group=ALONE if each.background == REST else "",
        )
        for each in all_pairs
    ]
    if len(found.names) > MOST_CLASSES:
        return of_all
    return of_all + [
        replace(
            calibration((each.scores[:, index], each.is_of(index)) for each in found.slices()),
            name=f"calibration, {name}",
            x_title=f"probability of {name}",
            y_title=f"share that is {name}",
            group=ALONE,
        )
        for index, name in enumerate(found.names)
    ]


def calibration(parts: Iterable[tuple[Scores, NDArray[np.bool_]]]) -> Curve:
    """Return how often it is true against the mean probability, by bin (B).

    Each of the parts is the probability (N) of some rows, and whether it is true (N).
    """
    total, right, sure = np.zeros((3, BINS))
    for probability, true in parts:
        index = bins(probability)
        total += np.bincount(index, minlength=BINS)
        right += np.bincount(index, true, BINS)
        np.add.at(sure, index, probability)  # in the order of the rows, however they are divided
    there = total > 0
    total, right, sure = total[there], right[there], sure[there]
    low, high = of_fraction(right, total)
    points = (each.tolist() for each in (sure / total, right / total, low, high))
    return Curve("calibration", "confidence", "accuracy", *points)


def _against_background(found: Classified) -> Iterator[Pair]:
    """Yield each class and the background by p_S/(p_S + p_B), if there is that background."""
    if BACKGROUND not in found.names:
        return
    background = list(found.names).index(BACKGROUND)
    for signal, name in enumerate(found.names):
        if signal != background:
            rows = np.flatnonzero((found.true == signal) | (found.true == background))
            of_signal = found.scores[rows, signal].astype(np.float64)
            both = of_signal + found.scores[rows, background]
            share = np.divide(of_signal, both, out=np.zeros_like(both), where=both > 0)
            is_signal = found.true[rows] == signal
            yield Pair(name, BACKGROUND, ranked(share, is_signal, found.group[rows]))


def _working_point(pair: Pair, efficiency: float, interval: Interval) -> WorkingPoint:
    """Return one working point; None stands for what is endless or unknown."""
    found = (threshold(pair.found, efficiency), rejection(pair.found, efficiency), *interval)
    numbers = (float(each) if np.isfinite(each) else None for each in found)
    return WorkingPoint(pair.signal, pair.background, efficiency, *numbers)
