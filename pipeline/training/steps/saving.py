"""When a training saves: by events or by the clock, and always before its link ends."""

import math
from collections.abc import Callable, Sequence
from enum import IntEnum

from pipeline import claims
from pipeline.campaign import Training
from pipeline.training.link.here import Link, now

UNMEASURED_SAVE_SECONDS = 60.0
LONGEST_INTERVAL_SECONDS = 1800.0
SPARE_SECONDS = 5.0


class Action(IntEnum):
    """What to do at the end of a step; all processes take the largest action of any of them.

    They leave together, and touch nothing, when the first of them has lost its claim.
    """

    GO_ON = 0
    SAVE = 1
    STOP = 2
    LEAVE = 3


def interval_seconds(save_seconds: float, mean_seconds_to_failure: float | None) -> float:
    """Return the interval between checkpoints that costs least, at most half an hour.

    With δ for one save and M between failures it is Daly's estimate (J. T. Daly, "A higher order
    estimate of the optimum checkpoint interval for restart dumps", Future Generation Computer
    Systems 22 (2006) 303, eq. 37), which for δ ≪ M is Young's √(2 δ M):

        √(2 δ M) (1 + √(δ / 2M) / 3 + (δ / 2M) / 9) - δ    for δ < 2M, else M

    The half hour limits the loss from what the rate leaves out: preemption, power cuts, a wrong
    rate.
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
    """Decides at each step whether to save, from the duration of steps and saves in this link."""

    def __init__(
        self,
        training: Training,
        link: Link,
        branch_points: Sequence[int],
        clock: Callable[[], float] = now,
    ) -> None:
        self.training, self.link, self.branch_points = training, link, branch_points
        self.clock = clock
        self.save_seconds: float | None = None
        self.longest_step_seconds = 0.0
        self.saved_at = clock()

    def stepped(self, seconds: float) -> None:
        """Record the duration of a step."""
        self.longest_step_seconds = max(self.longest_step_seconds, seconds)

    def saved(self, seconds: float) -> None:
        """Record the duration of a save that has just ended."""
        self.save_seconds = max(seconds, self.save_seconds or 0.0)
        self.saved_at = self.clock()

    def action(self, seen: int, *, stop: bool) -> Action:
        """Return what to do after `seen` events; `stop` is whether this process has to stop."""
        if not claims.are_recent():
            return Action.LEAVE
        if stop or self._link_ends():
            return Action.STOP
        return Action.SAVE if self._due(seen) else Action.GO_ON

    def _due(self, seen: int) -> bool:
        """Return whether a checkpoint is due at `seen`, by its events or by the clock."""
        training, interval = self.training, self.training.checkpoint_events
        if seen == training.steps * training.batch_events or seen in self.branch_points:
            return True
        if interval is not None:
            return seen // interval > (seen - training.batch_events) // interval
        save = UNMEASURED_SAVE_SECONDS if self.save_seconds is None else self.save_seconds
        pause = interval_seconds(save, self.link.mean_seconds_to_failure)
        return self.clock() - self.saved_at >= pause

    def _link_ends(self) -> bool:
        """Return whether less than the time of three saves is left before the link ends.

        The scheduler's signal comes earlier if a save is much shorter than its lead time. This
        check covers longer saves, and machines where no signal arrives.
        """
        if self.link.ends is None or self.save_seconds is None:
            return False
        needed = 3 * self.save_seconds + 2 * self.longest_step_seconds + SPARE_SECONDS
        return self.link.ends - self.clock() < needed
