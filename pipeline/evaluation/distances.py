"""How far two samples of one quantity are apart. Axes: V values, K bins."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.intervals import Interval

Distance = Callable[[NDArray[Any], NDArray[Any]], float]
SMALLEST = 1e-8
LOW, HIGH = 0.001, 0.999
RESAMPLES = 200
MOST_DRAWN = 50_000


def quantile_divergence(true: NDArray[Any], made: NDArray[Any], *, bins: int = 30) -> float:
    """Return the Kullback-Leibler divergence KL(true || made) in nats over bins of equal content.

    Edges are quantiles of the true values from 0.1 % to 99.9 %, and 1e-8 is added to the share of
    each bin, as OmniJet-alpha has it (arXiv:2403.05618, §4: 30 bins for jets, 50 for constituents).
    Shares are of all values: what lies beyond the edges is missing in the bins. Equal edges, of
    integers, count once.

    Raises:
        ValueError: A sample is empty.
    """
    true, made = _finite(true), _finite(made)
    edges = np.unique(np.quantile(true, np.linspace(LOW, HIGH, bins + 1)))
    if len(edges) == 1:  # all true values are equal
        edges = np.array([edges[0], np.nextafter(edges[0], np.inf)])
    p, q = (np.histogram(each, edges)[0] / len(each) + SMALLEST for each in (true, made))
    return float(np.sum(p * np.log(p / q)))


def wasserstein(true: NDArray[Any], made: NDArray[Any]) -> float:
    """Return the Wasserstein-1 distance of the samples, in their own unit.

    Raises:
        ValueError: A sample is empty.
    """
    from scipy.stats import wasserstein_distance  # takes a while to load

    return float(wasserstein_distance(_finite(true), _finite(made)))


def with_interval(
    distance: Distance,
    true: NDArray[Any],
    made: NDArray[Any],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> tuple[float, Interval]:
    """Return a distance of the samples, and its bootstrap interval.

    That is one standard deviation of the distances of resamples to either side: they are all
    larger, for resamples differ more, so their percentiles may not hold the distance. Where a
    sample has more than 50,000 values, the same share of both is drawn, and the deviation is less
    by the root of the share (Bickel, Götze, van Zwet, Statistica Sinica 7, 1997, p. 1). Values
    count as independent.

    Raises:
        ValueError: A sample is empty.
    """
    true, made = _finite(true), _finite(made)
    rng = np.random.default_rng(seed)
    share = min(1.0, MOST_DRAWN / max(len(true), len(made)))
    sizes = [int(np.ceil(share * len(each))) for each in (true, made)]
    drawn = [
        distance(rng.choice(true, sizes[0]), rng.choice(made, sizes[1])) for _ in range(resamples)
    ]
    deviation = float(np.std(drawn) * np.sqrt(share))
    value = distance(true, made)
    return value, (max(value - deviation, 0.0), value + deviation)


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    found = found[np.isfinite(found)]
    if not len(found):
        message = "a sample without values has no distance from another"
        raise ValueError(message)
    return found
