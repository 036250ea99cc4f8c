"""The outcome of a link, and whether its chain submits another one: values in, values out.

The order is: link, outcome (`outcome_of`), retry policy (`reason_to_end`, `over_limit`). What an
outcome means for the chain stands in its row of `pipeline.outcome`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.job import JobStatus
from pipeline.outcome import OUTCOMES, Outcome, Retry, named, of_code, of_state


@dataclass(frozen=True)
class LinkEnd:
    """How a link ended, and whether it left a new checkpoint, or a new part of the product."""

    outcome: str
    progressed: bool

    @property
    def row(self) -> Outcome:
        """What follows from the outcome."""
        return named(self.outcome)


def outcome_of(status: JobStatus, recorded: str, *, hung: bool = False) -> str:
    """Return the name of a link's outcome; `recorded` is that of `result.json`, if there is one.

    A cause that a process recorded comes first, then that the heartbeat stopped long before the end
    (`hung`), then the scheduler's state, then the exit code. A link that ended by a signal, or
    without any exit code, was killed. One that exits with 0 and leaves no product has failed.
    """
    if recorded and not named(recorded).echo:
        return recorded
    if hung:
        return "hang"
    row = of_state(status.state) or of_code(status.exit_code)
    return "error" if row is OUTCOMES["finished"] else row.name


def reason_to_end(links: Sequence[LinkEnd]) -> str:
    """Return why the chain of these links ends; empty if another link follows.

    Two links in a row without progress end it, whatever their outcomes: a third would waste hours.
    """
    last = links[-1]
    before = links[-2] if len(links) > 1 else None
    retry = last.row.retry
    if retry is Retry.NEVER:
        return last.outcome
    if retry is Retry.ONCE and before is not None and before.outcome == last.outcome:
        return f"{last.outcome}, twice in a row"
    if last.progressed:
        return ""
    if retry is Retry.IF_SAVED:
        return f"{last.outcome} without a new checkpoint; another link would waste hours"
    if before is not None and not before.progressed:
        return f"{last.outcome}, and no new checkpoint in two links; another would waste hours"
    return ""


def over_limit(links: Sequence[LinkEnd], *, at_most: int) -> str:
    """Return why the chain ends after `at_most` links, however well they went; empty if it may not.

    A preempted link that made progress does not count: preemption may happen often, and is no sign
    that the training takes too long.
    """
    counted = sum(not (link.row.forgiven and link.progressed) for link in links)
    if counted < at_most:
        return ""
    return f"{links[-1].outcome}, after {counted} links, which are by far more than were planned"
