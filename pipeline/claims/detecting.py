"""Whether the holder of a claim lives, detected by change alone.

No clocks of two machines are compared, and no times of files: a claim is nobody's once the detector
has seen no change of it for `silent_seconds`, by its own monotonic clock.
"""

import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from pipeline import clock
from pipeline.claims.files import Seen, newest
from pipeline.claims.process import Holder

# A claim without a beat for so long is nobody's; holders beat eight times as often.
SILENT_SECONDS = 120.0
VARIABLE = "COSMOTRON_SILENT_SECONDS"
BEATS = 8
LOOKS = 60  # in the silent time

Notice = Callable[[str], object]
IsOver = Callable[[str], bool]


class ClaimState(StrEnum):
    """What is known of a claim."""

    FREE = "free"
    HELD = "held"
    UNKNOWN = "unknown"


def silent_seconds() -> float:
    """Return after how many seconds without a change a claim is nobody's, here."""
    return float(os.environ.get(VARIABLE, SILENT_SECONDS))


class Watch:
    """Watches one claim for change.

    Only short spans between two looks count as silence. Where the detector itself was stopped, or
    the file system answered neither to it nor to the holder, nobody was silent.
    """

    def __init__(self) -> None:
        self.silent = 0.0
        self._seen: Seen | None = None
        self._looked_at = 0.0

    def look(self, seen: Seen, now: float) -> ClaimState:
        """Return what is known of the claim `seen` at `now`, in seconds of a monotonic clock."""
        before, self._seen = self._seen, seen
        span, self._looked_at = now - self._looked_at, now
        if before is None:
            return ClaimState.UNKNOWN
        if seen != before:
            self.silent = 0.0
            return ClaimState.HELD
        limit = limit_of(seen)
        self.silent += min(span, 4 * limit / LOOKS)
        return ClaimState.FREE if self.silent >= limit else ClaimState.UNKNOWN


def limit_of(seen: Seen) -> float:
    """Return the silent time of a claim: the detector's or the holder's, whichever is longer."""
    claimant = seen.claimant
    return max(silent_seconds(), claimant.silent_seconds if claimant is not None else 0.0)


class Detector:
    """Says whether the claim in `folder` is held; call it again until it knows.

    `is_over` says whether the batch job of a key has ended for certain, so that nobody works for
    it: then nothing is watched.
    """

    def __init__(self, folder: Path, is_over: IsOver = lambda _: False) -> None:
        self.folder, self.is_over = folder, is_over
        self.seen: Seen | None = None
        self.watch = Watch()

    def __call__(self) -> ClaimState:
        """Return what is known by now.

        A process whose id counts here is looked up: it holds its claim while it exists, stopped or
        not. All others are watched.
        """
        seen = self.seen = newest(self.folder)
        if seen is None or seen.is_over:
            return ClaimState.FREE
        holder = self.holder
        if holder is not None and holder.is_here:
            return ClaimState.HELD if holder.is_alive else ClaimState.FREE
        if seen.claimant is not None and self.is_over(seen.claimant.work):
            return ClaimState.FREE
        return self.watch.look(seen, clock.monotonic())

    @property
    def limit(self) -> float:
        """The silent time of the claim, in seconds."""
        return limit_of(self.seen) if self.seen is not None else silent_seconds()

    @property
    def was_silent(self) -> bool:
        """Whether the claim is free because no change of it was seen."""
        return self.watch.silent >= self.limit

    @property
    def holder(self) -> Holder | None:
        """The process that the claim names, if it can be read."""
        claimant = self.seen.claimant if self.seen is not None else None
        return claimant.holder if claimant is not None else None

    def decided(self, notice: Notice) -> ClaimState:
        """Return whether the claim is held or free; `notice` is called where that takes time."""
        notified = False
        while (state := self()) is ClaimState.UNKNOWN:
            if not notified:
                notice(self._waits())
                notified = True
            clock.sleep(self.limit / LOOKS)
        return state

    def _waits(self) -> str:
        """Return for whom and how long this process waits."""
        holder = self.holder
        who = f"process {holder.pid} on {holder.host}" if holder is not None else "a process"
        name = f"{self.folder.parent}: {who} has the claim {self.folder.name}"
        unreadable = "" if holder is not None else ", which a crash left unreadable"
        return (
            f"{name}{unreadable}. Whether it still works is not seen from here: watching it for up "
            f"to {self.limit:.0f} s."
        )


def on_stderr(message: str) -> None:
    """Write `message` to stderr."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


def holder(folder: Path, notice: Notice = on_stderr) -> Holder | None:
    """Return the process that holds the claim `folder`, None if nobody does.

    Of a holder on another machine this takes until its next beat, or the silent time if it is dead.
    """
    detector = Detector(folder)
    if detector.decided(notice) is ClaimState.FREE:
        return None
    return detector.holder or Holder("an unknown host", 0, 0)
