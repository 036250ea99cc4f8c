"""When a training saves: at marks of events or by the clock, and always before its link ends."""

import math
import time
from collections.abc import Callable, Sequence
from enum import IntEnum

from pipeline.campaign import Training
from pipeline.training.link.here import Link

UNMEASURED_SAVE_SECONDS = 60.0
LONGEST_INTERVAL_SECONDS = 1800.0
SPARE_SECONDS = 5.0


class Wish(IntEnum):
    """What a process wants at the end of a step; the strongest wish of all is done by all."""

    GO_ON = 0
    SAVE = 1
    STOP = 2


def interval_seconds(save_seconds: float, mean_seconds_to_failure: float | None) -> float:
    """Return the time of work between two checkpoints that costs least, half an hour at most.

    With δ for one save and M between failures it is Daly's estimate (J. T. Daly, "A higher order
    estimate of the optimum checkpoint interval for restart dumps", Future Generation Computer
    Systems 22 (2006) 303, eq. 37), which for δ ≪ M is Young's √(2 δ M):

        √(2 δ M) (1 + √(δ / 2M) / 3 + (δ / 2M) / 9) - δ    for δ < 2M, else M

    The half hour is for what the rate does not know: preemption, a pulled plug, a wrong rate.
    """
    if mean_seconds_to_failure is None:
        return LONGEST_INTERVAL_SECONDS
    share = save_seconds / (2 * mean_seconds_to_failure)
    if share >= 1:
        best = mean_seconds_to_failure
    else:
        young = math.sqrt(2 * save_seconds * mean_seconds_to_failure)
        best = young * (1 + math.sqrt(share) / 3 + share / 9) - save_seconds
    return min(best, LONGEST_INTERVAL_SECONDS)


class Saving:
    """Says at each step whether to save, from how long steps and saves have taken in this link."""

    def __init__(
        self,
        training: Training,
        link: Link,
        branch_points: Sequence[int],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.training, self.link, self.branch_points = training, link, branch_points
        self.clock = clock
        self.save_seconds: float | None = None
        self.longest_step_seconds = 0.0
        self.saved_at = clock()

    def stepped(self, seconds: float) -> None:
        """Note how long a step took."""
        self.longest_step_seconds = max(self.longest_step_seconds, seconds)

    def saved(self, seconds: float) -> None:
        """Note how long a save took, which ended now."""
        self.save_seconds = max(seconds, self.save_seconds or 0.0)
        self.saved_at = self.clock()

    def wish(self, seen: int, *, asked: bool) -> Wish:
        """Return what to do after `seen` events; `asked` is whether this process shall stop."""
        if asked or self._link_ends():
            return Wish.STOP
        return Wish.SAVE if self._due(seen) else Wish.GO_ON

    def _due(self, seen: int) -> bool:
        """Return whether the step that ended at `seen` crossed a mark, or the time has come."""
        training, interval = self.training, self.training.checkpoint_events
        if seen == training.steps * training.batch_events or seen in self.branch_points:
            return True
        if interval is not None:
            return seen // interval > (seen - training.batch_events) // interval
        save = UNMEASURED_SAVE_SECONDS if self.save_seconds is None else self.save_seconds
        pause = interval_seconds(save, self.link.mean_seconds_to_failure)
        return self.clock() - self.saved_at >= pause

    def _link_ends(self) -> bool:
        """Return whether three saves would hardly fit any more before the link ends.

        The scheduler's signal comes earlier where a save is short against its lead; this is for
        where it is not, and for where no signal arrives.
        """
        if self.link.ends is None or self.save_seconds is None:
            return False
        needed = 3 * self.save_seconds + 2 * self.longest_step_seconds + SPARE_SECONDS
        return self.link.ends - self.clock() < needed
