"""Why a job does not run, in its scheduler's words, and what the user can do about it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.job import JobStatus


@dataclass(frozen=True)
class Reason:
    """What reasons that begin with a match of `pattern` mean; `{id}` in the advice is the job's id.

    `is_stuck` says that the job never starts unless somebody does something.
    """

    pattern: str
    advice: str
    is_stuck: bool = False


def explained(status: JobStatus, reason: str, table: Sequence[Reason]) -> JobStatus:
    """Return `status` with its reason, and the advice of the first row of `table` that matches."""
    row = next((each for each in table if re.match(each.pattern, reason)), None)
    advice = row.advice.format(id=status.id) if row is not None else ""
    is_stuck = row is not None and row.is_stuck
    return status.model_copy(update={"reason": reason, "advice": advice, "is_stuck": is_stuck})
