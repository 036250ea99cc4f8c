"""Each class by itself: against the rest, and against the background as published.

Axes: N points or jets, C classes, B bins of probability.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.evaluation.classified import BINS, Classified, bins
from pipeline.evaluation.intervals import Floats, Interval, Ints, of_fraction
from pipeline.evaluation.ranking import (
    Ranked,
    auc,
    ranked,
    rejection,
    rejection_intervals,
    roc,
    threshold,
)
from pipeline.evaluation.result import Curve, WorkingPoint

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


def pairs(found: Classified) -> list[Pair]:
    """Return signals and backgrounds: of two classes the second and the first.

    Of more, each class against "QCD" by p_S/(p_S + p_B), if that is one of them (Qu, Li, Qian,
    arXiv:2202.03772), and each against all others by its probability.
    """
    names = list(found.names)
    if len(names) == 2:
        return [Pair(names[1], names[0], ranked(found.scores[:, 1], found.true, found.group))]
    if len(names) > MOST_CLASSES:
        return list(_against_background(found))
    rest = [
        Pair(name, REST, ranked(found.scores[:, index], _is(found, index), found.group))
        for index, name in enumerate(names)
    ]
    return [*_against_background(found), *rest]


def working_points(all_pairs: Sequence[Pair], groups: int, *, seed: int) -> list[WorkingPoint]:
    """Return the cut and the rejection of each pair at its efficiencies, with 68 % intervals."""
    wanted = [(each.found, each.efficiencies) for each in all_pairs]
    ends = rejection_intervals(wanted, groups, seed=seed)
    return [
        _working_point(pair, efficiency, interval)
        for pair, of_pair in zip(all_pairs, ends, strict=True)
        for efficiency, interval in zip(pair.efficiencies, of_pair, strict=True)
    ]


def areas(found: Classified) -> dict[str, tuple[float, Interval]]:
    """Return the area under the ROC curve of each class against the rest, and its interval."""
    if not 2 < len(found.names) <= MOST_CLASSES:
        return {}
    return {
        name: auc(
            _is(found, index),
            np.stack([1 - found.scores[:, index], found.scores[:, index]], 1),
            found.group,
        )
        for index, name in enumerate(found.names)
    }


def curves(found: Classified, all_pairs: Sequence[Pair]) -> list[Curve]:
    """Return the ROC curve of each pair, and the calibration of each class."""
    if len(found.names) == 2:
        return [roc(all_pairs[0].found)]
    of_pairs = [
        replace(
            roc(each.found),
            name=f"ROC, {each.signal}",
            x_title=f"efficiency of {each.signal}",
            y_title=f"rejection of {each.background}",
            group=ALONE if each.background == REST else "",
        )
        for each in all_pairs
    ]
    if len(found.names) > MOST_CLASSES:
        return of_pairs
    return of_pairs + [
        replace(
            calibration(found.scores[:, index], _is(found, index)),
            name=f"calibration, {name}",
            x_title=f"probability of {name}",
            y_title=f"share that is {name}",
            group=ALONE,
        )
        for index, name in enumerate(found.names)
    ]


def calibration(probability: Floats, true: Ints) -> Curve:
    """Return how often it is true (N, 0 or 1) against the mean probability (N), by bin (B)."""
    index = bins(probability)
    total, right, sure = (
        np.bincount(index, each, minlength=BINS) for each in (None, true, probability)
    )
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
            of_signal = found.scores[rows, signal]
            both = of_signal + found.scores[rows, background]
            share = np.divide(of_signal, both, out=np.zeros_like(both), where=both > 0)
            is_signal = (found.true[rows] == signal).astype(np.int64)
            yield Pair(name, BACKGROUND, ranked(share, is_signal, found.group[rows]))


def _is(found: Classified, index: int) -> Ints:
    """Return 1 where the true class is that one, else 0 (N)."""
    is_it: Ints = (found.true == index).astype(np.int64)
    return is_it


def _working_point(pair: Pair, efficiency: float, interval: Interval) -> WorkingPoint:
    """Return one working point; None stands for what is endless or unknown."""
    found = (threshold(pair.found, efficiency), rejection(pair.found, efficiency), *interval)
    numbers = (float(each) if np.isfinite(each) else None for each in found)
    return WorkingPoint(pair.signal, pair.background, efficiency, *numbers)
