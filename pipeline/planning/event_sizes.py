"""How many points events have, for estimates: counted in a store, or declared before it exists."""

import math
from dataclasses import dataclass
from pathlib import Path

from pipeline.campaign import Campaign
from pipeline.data.experiments import experiment_of
from pipeline.families.activations import Taken
from pipeline.families.tokenizer import MOST_CONSTITUENTS
from pipeline.planning.truth import manifest_of

# The spread of the numbers of points over their mean. A guess: no store counts it.
SPREAD = 0.5
# The largest of many batches is so many standard deviations above the mean: one in 30,000.
DEVIATIONS = 4.0


@dataclass(frozen=True)
class EventSizes:
    """The points of events: their mean, None if nobody says it, and the most that one may have."""

    mean: float | None
    most: float

    def largest(self, events: int, *, kernels: bool = False) -> Taken:
        """Return the most that `events` events taken at once are likely to be, of many batches.

        Without a mean all events have as many points as one may have.
        """
        if self.mean is None:
            return Taken(
                events, events * self.most, self.most, events * self.most**2, kernels=kernels
            )
        mean = min(self.mean, self.most)
        above = 1 + DEVIATIONS * SPREAD / math.sqrt(events)
        points = events * min(mean * above, self.most)
        # The largest of n normal numbers is about √(2 ln n) deviations above their mean.
        longest = mean * (1 + SPREAD * max(DEVIATIONS, math.sqrt(2 * math.log(events))))
        squares = min(points * mean * (1 + SPREAD**2), events * self.most**2)
        squares = max(squares, points**2 / events)
        return Taken(events, points, min(longest, self.most), squares, kernels=kernels)


def event_sizes(campaign: Campaign, store: Path) -> EventSizes:
    """Return the sizes of the events of a `store`, as counted if it is there, or as declared."""
    dataset, tokens = campaign.dataset_of(store)
    manifest = manifest_of(store)
    events = 0 if manifest is None else sum(manifest.events.values())
    if manifest is not None and events:
        return EventSizes(sum(manifest.points.values()) / events, manifest.max_points)
    most = dataset.max_points or experiment_of(dataset).max_points
    return EventSizes(dataset.mean_points, min(most, MOST_CONSTITUENTS) if tokens else most)
