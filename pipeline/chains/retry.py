"""What class the end of a link has, and what its chain does next: values in, values out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.job import JobStatus, State
from pipeline.run import Exit

# The classes after which there is another link; all others end the chain.
GOES_ON = ("continue", "timeout", "preempted", "node_fail", "killed", "peer_lost", "hang")
# What a process records that has only lost another one, or does not know better.
ECHOES = ("finished", "error", "peer_lost")

BY_STATE = {
    State.TIMEOUT: "timeout",
    State.PREEMPTED: "preempted",
    State.NODE_FAIL: "node_fail",
    State.OUT_OF_MEMORY: "out_of_memory",
    State.CANCELLED: "cancelled",
    State.UNKNOWN: "lost",
}
BY_CODE = {
    Exit.USAGE: "usage",
    Exit.BAD_INPUT: "bad_input",
    Exit.CANNOT_WRITE: "cannot_write",
    Exit.BUSY: "busy",
    Exit.CONTINUE: "continue",
    Exit.DIVERGED: "diverged",
    Exit.HANG: "hang",
    Exit.OUT_OF_MEMORY: "out_of_memory",
    Exit.PEER_LOST: "peer_lost",
}


@dataclass(frozen=True)
class Ended:
    """How a link ended, and whether it left a new checkpoint, or a new part of the product."""

    outcome: str
    progressed: bool


def outcome(status: JobStatus, result: Mapping[str, Any] | None, *, hung: bool = False) -> str:
    """Return the class of a link's end.

    What a process recorded of the cause comes first, then that the link was silent too long
    (`hung`), then the scheduler's word, then the exit code. A process that ended by a signal, and
    a job that has no exit code, was killed.
    """
    recorded = str(result["outcome"]) if result is not None else ""
    if recorded and recorded not in ECHOES:
        return recorded
    if hung:
        return "hang"
    if status.state in BY_STATE:
        return BY_STATE[status.state]
    code = status.exit_code
    if code is None or code > 128:
        return "killed"
    known = BY_CODE.get(Exit(code)) if code in set(Exit) else None
    return known or "error"


def ends(links: Sequence[Ended]) -> str:
    """Return why a chain is over whose `links` ended so; empty if there is to be another link."""
    last = links[-1]
    if last.outcome not in GOES_ON:
        return last.outcome
    before = links[-2] if len(links) > 1 else None
    if last.outcome == "hang" and before is not None and before.outcome == "hang":
        return "hang, twice in a row"
    if last.progressed:
        return ""
    if last.outcome == "timeout":
        return "timeout without a new checkpoint; another link would waste hours"
    if before is not None and not before.progressed:
        return f"{last.outcome}, and no new checkpoint in two links; another would waste hours"
    return ""


def too_many(links: Sequence[Ended], *, at_most: int) -> str:
    """Return that a chain is over because it had `at_most` links, however well it went.

    Those that others pushed out are not counted: that may happen often, and they brought it on.
    """
    counted = sum(link.outcome != "preempted" or not link.progressed for link in links)
    if counted < at_most:
        return ""
    return f"{links[-1].outcome}, after {counted} links, which are by far more than were planned"
