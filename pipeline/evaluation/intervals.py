"""Intervals of 68 %: bootstraps over events, of quantiles, and of fractions.

Axes: E events, G groups of events, R resamples, C columns, V values, Q quantiles, K bins.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.result import INTERVAL

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Interval = tuple[float, float]
MOST_GROUPS = 10_000


def groups(events: int, *, seed: int) -> Ints:
    """Return the group (E) of each event: its own, or one of `MOST_GROUPS` by lot if it has less.

    The sums over groups of independent events are independent too, so their bootstrap has the same
    width but for 1/√(2 G) of it, and its cost does not grow with the events.
    """
    if events <= MOST_GROUPS:
        return np.arange(events)
    return np.random.default_rng(seed).permutation(events) % MOST_GROUPS


def weights(events: int, resamples: int, *, seed: int) -> Iterator[Floats]:
    """Yield how often each event (E) is drawn, when as many are drawn with replacement."""
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = rng.integers(0, events, events)
        yield np.bincount(drawn, minlength=events).astype(np.float64)


def resampled(columns: Floats, resamples: int, *, seed: int) -> Floats:
    """Return the (R, C) sums of the (E, C) columns over events drawn with replacement."""
    return np.stack([each @ columns for each in weights(len(columns), resamples, seed=seed)])


def percentiles(values: Floats) -> Interval:
    """Return the 16th and 84th percentile of values (V), NaN where none is a number."""
    numbers = values[~np.isnan(values)]
    if not len(numbers):
        return float("nan"), float("nan")
    low, high = np.percentile(numbers, INTERVAL)
    return float(low), float(high)


def ratio_interval(tops: Floats, bottoms: Floats) -> Interval:
    """Return the interval of top/bottom over resamples (R); 0/0 is left out."""
    return percentiles(tops[bottoms > 0] / bottoms[bottoms > 0])


def quantiles_resampled(
    values: Floats, levels: Sequence[float], resamples: int, *, seed: int
) -> Floats:
    """Return the quantiles (R, Q) at rising `levels` (Q) of resamples of sorted `values` (V).

    Nothing is resampled: the kth smallest of V draws with replacement is the value of rank ⌈V u⌉,
    with u the kth smallest of V uniform numbers, whose spacings are gamma variates over their sum
    (Devroye, Non-Uniform Random Variate Generation, 1986, §V.2.2).
    """
    count = len(values)
    ranks = np.ceil(np.asarray(levels) * count - 1e-9).clip(1, count).astype(np.int64)
    shapes = np.diff(ranks, prepend=0, append=count + 1)
    spacings = np.random.default_rng(seed).standard_gamma(shapes, (resamples, len(shapes)))
    uniform = np.cumsum(spacings, axis=1)
    chosen = np.ceil(count * uniform[:, :-1] / uniform[:, -1:]).clip(1, count)
    drawn: Floats = values[chosen.astype(np.int64) - 1]
    return drawn


def of_fraction(passed: NDArray[Any], total: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return the lower and upper end (K) for `passed` of `total` (K), NaN for none of none.

    Clopper and Pearson, Biometrika 26 (1934) 404: they hold the truth in 68 % of cases or more.
    """
    from scipy.special import betaincinv  # takes a while to load

    passed, total = np.asarray(passed, np.float64), np.asarray(total, np.float64)
    failed, (below, above) = total - passed, np.array(INTERVAL) / 100
    low = np.where(passed > 0, betaincinv(np.maximum(passed, 1), failed + 1, below), 0.0)
    high = np.where(failed > 0, betaincinv(passed + 1, np.maximum(failed, 1), above), 1.0)
    return np.where(total > 0, low, np.nan), np.where(total > 0, high, np.nan)
