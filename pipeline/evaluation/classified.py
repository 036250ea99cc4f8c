"""What was predicted of points or jets with classes. Axes: N points or jets, C classes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.intervals import Ints

Integers = NDArray[np.integer[Any]]
Scores = NDArray[np.floating[Any]]
BINS = 15  # of confidence: Guo et al., arXiv:1706.04599, §4


ROWS = 1 << 16  # that are in double precision at once


@dataclass(frozen=True)
class Classified:
    """The true classes (N), the probabilities (N, C) and the group (N) of events of each.

    They are kept in the precision in which they come: each is exact in double precision.
    """

    true: Integers
    scores: Scores
    group: Integers
    names: Sequence[str]

    def slices(self) -> "Iterator[Classified]":
        """Yield all rows, so many at once, with scores in double precision."""
        for start in range(0, len(self.true), ROWS):
            rows = slice(start, start + ROWS)
            scores = self.scores[rows].astype(np.float64)
            true = self.true[rows].astype(np.int64)
            yield Classified(true, scores, self.group[rows], self.names)

    def is_of(self, index: int) -> NDArray[np.bool_]:
        """Return whether each (N) is truly of the class `index`."""
        of_class: NDArray[np.bool_] = self.true == index
        return of_class

    @property
    def predicted(self) -> Ints:
        """The most probable class (N)."""
        predicted: Ints = self.scores.argmax(1)
        return predicted

    @property
    def confidence(self) -> Scores:
        """The probability (N) of that class."""
        confidence: Scores = self.scores.max(1)
        return confidence


def bins(probability: Scores) -> Ints:
    """Return the bin (N) of each probability (N); the upper edge of a bin belongs to it."""
    return np.clip(np.ceil(probability * BINS).astype(np.int64) - 1, 0, BINS - 1)
