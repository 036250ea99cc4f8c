"""What was predicted of points or jets with classes. Axes: N points or jets, C classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.evaluation.intervals import Floats, Ints

BINS = 15  # of confidence: Guo et al., arXiv:1706.04599, §4


@dataclass(frozen=True)
class Classified:
    """The true classes (N), the probabilities (N, C) and the group (N) of events of each."""

    true: Ints
    scores: Floats
    group: Ints
    names: Sequence[str]

    @cached_property
    def predicted(self) -> Ints:
        """The most probable class (N)."""
        predicted: Ints = self.scores.argmax(1)
        return predicted

    @cached_property
    def confidence(self) -> Floats:
        """The probability (N) of that class."""
        confidence: Floats = self.scores.max(1)
        return confidence

    @cached_property
    def bin(self) -> Ints:
        """The bin (N) of the confidence."""
        return bins(self.confidence)


def bins(probability: Floats) -> Ints:
    """Return the bin (N) of each probability (N); the upper edge of a bin belongs to it."""
    return np.clip(np.ceil(probability * BINS).astype(np.int64) - 1, 0, BINS - 1)
