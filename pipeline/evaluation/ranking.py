"""How well scores put classes in order: area under the ROC curve, background rejection.

Axes: N points or jets, C classes, G groups of events, D distinct scores, S of signal, B of
background, K points of a curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.intervals import Floats, Interval, Ints, percentiles, weights
from pipeline.evaluation.result import Curve

CURVE_POINTS = 200
RESAMPLES = 200


def auc(true: Ints, scores: Floats, group: Ints) -> tuple[float, Interval]:
    """Return the area under the ROC curve and its interval, NaN if fewer than two classes occur.

    Of two classes, that of the second score. Of more, the mean over all ordered pairs of classes
    that occur (one against one: Hand and Till, Machine Learning 45, 2001, p. 171), which is
    scikit-learn's `multi_class="ovo"`. The interval is one standard error of independent groups,
    from placement values (Obuchowski, Biometrics 53, 1997, p. 567): what a bootstrap over groups
    gives, to first order.

    Args:
        true: (N,) the class of each.
        scores: (N, C), larger means more likely of the class.
        group: (N,) the group of events that each belongs to, from 0.
    """
    occur, label = np.unique(true, return_inverse=True)
    if len(occur) < 2:
        return float("nan"), (float("nan"), float("nan"))
    columns = occur if scores.shape[1] > 2 else occur[1:]
    area, influence = 0.0, np.zeros(group.max() + 1)
    for column in columns:
        of_one, by_group = _one_against_one(
            label, int(np.searchsorted(occur, column)), scores[:, column], group
        )
        area += of_one / len(columns)
        influence += by_group / len(columns)
    count = len(influence)
    error = float(np.sqrt((influence**2).sum() * count / max(count - 1, 1)))
    return area, (max(area - error, 0.0), min(area + error, 1.0))


def _one_against_one(label: Ints, one: int, scores: Floats, group: Ints) -> tuple[float, Floats]:
    """Return the mean area of class `one` against each other, and what each group (G) adds to it.

    The placement of a score among a class is the share of that class below it, and half the share
    equal to it; the area is the mean placement of class `one` among another.
    """
    classes = label.max() + 1
    sizes = np.bincount(label)
    tie, ties = _ties(scores)
    counts = np.bincount(tie * classes + label, minlength=ties * classes).reshape(ties, classes)
    placement = (np.cumsum(counts, axis=0) - counts / 2) / sizes  # (D, C)
    areas = counts[:, one] @ placement / sizes[one]
    others = np.arange(classes) != one
    of_one = (placement[:, others].sum(1) - areas[others].sum()) / sizes[one]
    of_others = (1 - placement[tie, one] - areas[label]) / sizes[label]
    influence = np.where(label == one, of_one[tie], of_others) / others.sum()
    by_group = np.bincount(group, weights=influence).astype(np.float64)
    return float(areas[others].mean()), by_group


def _ties(scores: Floats) -> tuple[Ints, int]:
    """Return the rank of each score (N) among the D distinct ones, and D."""
    order = np.argsort(scores)
    ranks = np.empty(len(scores), np.int64)
    ranks[order] = np.cumsum(np.diff(scores[order], prepend=scores[order[0]]) > 0)
    return ranks, int(ranks[order[-1]]) + 1


@dataclass(frozen=True)
class Ranked:
    """Signal (S) and background (B) by falling score, with the group of each."""

    signal: Floats
    signal_group: Ints
    background: Floats
    background_group: Ints

    def passing(self, kept: int) -> int:
        """Return how much background scores no less than the last of the first `kept` signal."""
        return int(np.searchsorted(-self.background, -self.signal[kept - 1], side="right"))


def ranked(scores: Floats, is_signal: Ints, group: Ints) -> Ranked:
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
    wanted: Sequence[tuple[Ranked, Sequence[float]]], groups: int, *, seed: int
) -> list[list[Interval]]:
    """Return the bootstrap intervals of the rejection of each pair, at each of its efficiencies.

    Groups are drawn with replacement, and thresholds set anew: 200 times, the same for all. The
    upper end is infinite if no background passes in 16 % of the draws.
    """
    draws = [
        [_passing_shares(found, efficiencies, each) for found, efficiencies in wanted]
        for each in weights(groups, RESAMPLES, seed=seed)
    ]
    return [
        [_inverted(percentiles(np.array(column))) for column in zip(*of_pair, strict=True)]
        for of_pair in zip(*draws, strict=True)
    ]


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
        through = np.searchsorted(-found.signal, -found.signal[kept - 1], side="right")
        if passing:
            points[float(through / count)] = len(found.background) / passing
    return Curve(
        "ROC", "signal efficiency", "background rejection", list(points), list(points.values())
    )
