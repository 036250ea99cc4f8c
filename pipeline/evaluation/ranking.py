"""How well scores put classes in order: area under the ROC curve, background rejection.

Axes: N points or jets, C classes, G groups of events, D distinct scores, S of signal, B of
background, K points of a curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.classified import Integers, Scores
from pipeline.evaluation.intervals import Floats, Interval, Ints, percentiles, weights
from pipeline.evaluation.result import Curve

CURVE_POINTS = 200
RESAMPLES = 200


def auc(true: Integers, scores: Scores, group: Integers) -> tuple[float, Interval]:
    """Return the area under the ROC curve and its interval, NaN if fewer than two classes occur.

    Of two classes, that of the second score. Of more, the mean over all ordered pairs of classes
    that occur (one against one: Hand and Till, Machine Learning 45, 2001, p. 171), which is
    scikit-learn's `multi_class="ovo"`. The interval is one standard error of independent groups,
    from placement values (Obuchowski, Biometrics 53, 1997, p. 567): what a bootstrap over groups
    gives, to first order. Memory is that of one class at a time.

    Args:
        true: (N,) the class of each.
        scores: (N, C), larger means more likely of the class; or (N,), of the second of two.
        group: (N,) the group of events that each belongs to, from 0.
    """
    occur = np.flatnonzero(np.bincount(true))
    if len(occur) < 2:
        return float("nan"), (float("nan"), float("nan"))
    label = np.zeros(occur[-1] + 1, np.int16)
    label[occur] = np.arange(len(occur))
    columns = occur if scores.ndim > 1 and scores.shape[1] > 2 else occur[1:]
    area, influence = 0.0, np.zeros(int(group.max()) + 1)
    for column in columns:
        values = np.ascontiguousarray(scores[:, column] if scores.ndim > 1 else scores)
        of_one, by_group = _one_against_one(label[true], int(label[column]), values, group)
        area += of_one / len(columns)
        influence += by_group / len(columns)
    count = len(influence)
    error = float(np.sqrt((influence**2).sum() * count / max(count - 1, 1)))
    return area, (max(area - error, 0.0), min(area + error, 1.0))


def _one_against_one(
    label: Integers, one: int, scores: Scores, group: Integers
) -> tuple[float, Floats]:
    """Return the mean area of class `one` against each other, and what each group (G) adds to it.

    The placement of a score among a class is the share of that class below it, and half the share
    equal to it; the area is the mean placement of class `one` among another. Twice the number
    below is counted, which is whole.
    """
    sizes = np.bincount(label)
    others = [each for each in range(len(sizes)) if each != one]
    of_class, ties = _ranks(label, scores, group)
    counts, below = _placed(of_class[one][0], ties)
    among_others, areas = np.zeros(ties), np.zeros(len(sizes))
    by_group = np.zeros(int(group.max()) + 1)
    for other in others:
        rank, groups = of_class[other]
        _, below_other = _placed(rank, ties)
        areas[other] = np.dot(counts, below_other) / (2 * sizes[other]) / sizes[one]
        among_others += below_other / (2 * sizes[other])
        influence = (1 - below[rank] / (2 * sizes[one]) - areas[other]) / sizes[other]
        by_group += np.bincount(groups, influence, len(by_group))
    rank, groups = of_class[one]
    influence = (among_others[rank] - areas.sum()) / sizes[one]
    by_group += np.bincount(groups, influence, len(by_group))
    return float(areas[others].mean()), by_group / len(others)


def _ranks(
    label: Integers, scores: Scores, group: Integers
) -> tuple[list[tuple[Integers, Integers]], int]:
    """Return of each class the ranks and groups of its scores, in order, and their number D.

    Equal scores have one rank, from 0 to D − 1.
    """
    order = np.argsort(scores)
    ranks = np.zeros(len(scores), np.min_scalar_type(len(scores)))
    np.cumsum(np.diff(scores[order]) > 0, out=ranks[1:])
    label, group = label[order], group[order]
    chosen = (label == each for each in range(int(label.max()) + 1))
    return [(ranks[each], group[each]) for each in chosen], int(ranks[-1]) + 1


def _placed(ranks: Integers, ties: int) -> tuple[Ints, Ints]:
    """Return how many of `ranks` are of each rank (D), and twice how many are below, with half."""
    counts = np.bincount(ranks, minlength=ties)
    below = np.cumsum(counts)
    below *= 2
    below -= counts
    return counts, below


@dataclass(frozen=True)
class Ranked:
    """Signal (S) and background (B) by falling score, with the group of each."""

    signal: Scores
    signal_group: Integers
    background: Scores
    background_group: Integers

    def passing(self, kept: int) -> int:
        """Return how much background scores no less than the last of the first `kept` signal."""
        return int(no_less(self.background, self.signal[kept - 1]))


def no_less(falling: Scores, score: Any) -> Any:
    """Return how many of the `falling` scores are no less than `score`, or than each of some."""
    return len(falling) - np.searchsorted(falling[::-1], score, side="left")


def ranked(scores: Scores, is_signal: NDArray[Any], group: Integers) -> Ranked:
    """Return N scores in order, with signal where `is_signal` (N) is not 0."""
    order = np.argsort(-scores)
    signal = order[is_signal[order] != 0]
    background = order[is_signal[order] == 0]
    return Ranked(scores[signal], group[signal], scores[background], group[background])


def threshold(found: Ranked, efficiency: float) -> float:
    """Return the highest score that lets the given share of signal through, NaN without signal."""
    return float(found.signal[_kept(found, efficiency) - 1]) if len(found.signal) else float("nan")


def rejection(found: Ranked, efficiency: float) -> float:
    """Return 1/ε_B, the background for each that passes where the given share of signal does.

    The threshold is the highest score that lets the share through. NaN where no background passes.
    """
    if not len(found.signal) or not len(found.background):
        return float("nan")
    passing = found.passing(_kept(found, efficiency))
    return len(found.background) / passing if passing else float("nan")


def _kept(found: Ranked, efficiency: float) -> int:
    """Return how much signal is at least the given share of all."""
    return int(np.ceil(efficiency * len(found.signal) - 1e-9))


def rejection_intervals(
    found: Ranked, efficiencies: Sequence[float], groups: int, *, seed: int
) -> list[Interval]:
    """Return the bootstrap interval of the rejection at each of the efficiencies.

    Groups are drawn with replacement, and thresholds set anew: 200 times, the same for the same
    seed. The upper end is infinite if no background passes in 16 % of the draws.
    """
    draws = [
        _passing_shares(found, efficiencies, each) for each in weights(groups, RESAMPLES, seed=seed)
    ]
    return [_inverted(percentiles(np.array(column))) for column in zip(*draws, strict=True)]


def _inverted(interval: Interval) -> Interval:
    """Return the interval of 1/ε_B from that of ε_B."""
    low, high = interval
    return (1 / high if high else np.inf, 1 / low if low else np.inf)


def _passing_shares(found: Ranked, efficiencies: Sequence[float], weight: Floats) -> list[float]:
    """Return ε_B at each efficiency where each group (G) counts as often as `weight` has it."""
    passed = np.cumsum(weight[found.signal_group])
    through = np.concatenate([[0.0], np.cumsum(weight[found.background_group])])
    if not len(passed) or passed[-1] == 0 or through[-1] == 0:
        return [float("nan")] * len(efficiencies)
    kept = np.searchsorted(passed, np.array(efficiencies) * passed[-1] - 1e-9) + 1
    return [float(through[found.passing(int(each))] / through[-1]) for each in kept]


def roc(found: Ranked) -> Curve:
    """Return the rejection at up to 200 signal efficiencies, where any background passes."""
    count = len(found.signal)
    wanted = np.unique(np.ceil(np.linspace(0, count, CURVE_POINTS + 1)[1:])).astype(np.int64)
    points: dict[float, float] = {}
    for kept in wanted if count and len(found.background) else ():
        passing = found.passing(kept)
        through = no_less(found.signal, found.signal[kept - 1])
        if passing:
            points[float(through / count)] = len(found.background) / passing
    return Curve(
        "ROC", "signal efficiency", "background rejection", list(points), list(points.values())
    )
