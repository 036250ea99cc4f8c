"""What this process holds: claims, their beats, and whether another process has taken them over."""

import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pipeline import clock
from pipeline.claims import files
from pipeline.claims.detecting import (
    BEATS,
    ClaimState,
    Detector,
    IsOver,
    Notice,
    on_stderr,
    silent_seconds,
)
from pipeline.claims.files import Claimant
from pipeline.claims.process import Holder
from pipeline.outcome import BusyError, SupersededError

VARIABLE = "COSMOTRON_CLAIMS"
# In units of the time between two beats: for how long a look-up counts, and how long a successor
# waits before it begins. The difference is left for what follows a look-up.
RECENT_BEATS, GRACE_BEATS = 1.5, 2.0


@dataclass
class Claim:
    """Claim `number` of a folder, as this process holds it, or works for the one that does.

    `token` is empty where only the number is known. `beaten_at` is when the last beat was written.
    """

    folder: Path
    number: int
    token: str = ""
    silent_seconds: float = 0.0
    beaten_at: float | None = None

    @property
    def is_held(self) -> bool:
        """Whether it is still the newest; the files are looked up.

        What was found before this process was stopped, or its file system did not answer for a
        while, may be old: then it looks again.
        """
        limit = RECENT_BEATS * (self.silent_seconds or silent_seconds()) / BEATS
        while True:
            began = _now()
            if not files.is_held(self.folder, self.number, self.token):
                return False
            if _now() - began < limit:
                return True

    @property
    def is_recent(self) -> bool:
        """Whether it was looked up for its last beat, and no successor has begun since."""
        limit = RECENT_BEATS * self.silent_seconds / BEATS
        return self.beaten_at is not None and _now() - self.beaten_at < limit

    def beat(self, count: int) -> bool:
        """Write a beat if it is still held; return whether it is."""
        began = _now()
        if not self.is_held:
            self.beaten_at = None
            return False
        files.beat(self.folder, self.number, count)
        self.beaten_at = began
        return True

    def check_not_taken(self, cause: Exception | None = None) -> None:
        """Check that there is no later claim, as far as the folder can be read.

        Raises:
            SupersededError: There is one.
        """
        seen = None
        with suppress(OSError):
            seen = files.newest(self.folder)
        if seen is not None and seen.number > self.number:
            raise self.superseded() from cause

    def superseded(self) -> SupersededError:
        """Return the error of a process that finds that it has lost this claim."""
        seen = files.newest(self.folder)
        if seen is None or seen.number <= self.number:
            who = f"the claim {self.folder} is gone"
        else:
            claimant = seen.claimant
            name = "another process"
            if claimant is not None:
                name += f", {claimant.holder.pid} on {claimant.holder.host},"
            who = f"{name} took over while this one was silent"
        message = (
            f"{self.folder.parent}: {who}. It was stopped for too long, or its file system did not "
            "answer. It ends here and leaves everything to its successor."
        )
        return SupersededError(message)


@dataclass
class _Mine:
    claims: list[Claim] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


_mine = _Mine()


def _now() -> float:
    """Return the seconds of a clock that goes on while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _all() -> list[Claim]:
    """Return the claims of this process, and those of the one that started it for its work."""
    with _mine.lock:
        return [*_inherited(), *_mine.claims]


def confirm() -> None:
    """Look up all claims of this process: before each save, submission, rename and removal.

    Raises:
        SupersededError: Another process has taken one over.
    """
    for claim in _all():
        if not claim.is_held:
            raise claim.superseded()


def are_held() -> bool:
    """Return whether nobody has taken over a claim of this process; the files are looked up."""
    return all(claim.is_held for claim in _all())


def are_taken_over() -> bool:
    """Return whether there is a later claim: not where the holder only gave its own back."""
    try:
        for claim in _all():
            claim.check_not_taken()
    except SupersededError:
        return True
    return False


def are_recent() -> bool:
    """Return the same at no cost after a recent beat, for what is written at each step."""
    return all(claim.is_recent or claim.is_held for claim in _all())


def number_of(folder: Path) -> int:
    """Return the number of the claim `folder` that this process holds, 0 if it holds none."""
    return next((each.number for each in _all() if each.folder == folder), 0)


def follow(folder: Path, number: int) -> None:
    """Let this process work for the one that holds claim `number`; 0 is no claim."""
    if number and not number_of(folder):
        with _mine.lock:
            _mine.claims.append(Claim(folder, number))


def for_children() -> dict[str, str]:
    """Return the environment by which programs that this process starts work for its claims."""
    held = [[str(each.folder.absolute()), each.number, each.token] for each in _all()]
    return {VARIABLE: json.dumps(held)} if held else {}


@lru_cache(maxsize=1)
def _inherited() -> tuple[Claim, ...]:
    """Return the claims of the process that started this one for its work."""
    held = json.loads(os.environ.get(VARIABLE, "[]"))
    return tuple(Claim(Path(folder), number, token) for folder, number, token in held)


@contextmanager
def claimed(
    folder: Path,
    *,
    work: str = "",
    is_over: IsOver = lambda _: False,
    notice: Notice = on_stderr,
) -> Iterator[Claim]:
    """Hold the claim `folder` while the body runs, so that two processes never do the same work.

    A thread writes beats, by which processes on other machines see that this one works. Whatever
    the body raises after the claim was lost is the end of a superseded process.

    Args:
        folder: The folder of the claim, which is made.
        work: The key of the batch job that this process works for.
        is_over: Whether the batch job of a key, for which another process worked, has ended.
        notice: Gets the message for whom and how long this process waits, if it has to.

    Raises:
        BusyError: A living process holds it.
        SupersededError: Another process took it over during the body.
    """
    claim = _acquire(folder, work, is_over, notice)
    over = threading.Event()
    thread = threading.Thread(target=_beat, args=(claim, over), daemon=True)
    with _mine.lock:
        _mine.claims.append(claim)
    thread.start()
    try:
        with _explained(claim):
            yield claim
    finally:
        over.set()
        thread.join(silent_seconds() / BEATS)
        with _mine.lock:
            _mine.claims.remove(claim)
        with suppress(OSError):  # a claim that stays is that of a dead process
            if claim.is_held:
                files.release(folder, claim.number)


@contextmanager
def _explained(claim: Claim) -> Iterator[None]:
    """Turn whatever the body raises once `claim` is taken over into just that."""
    try:
        yield
    except SupersededError:
        raise
    except Exception as error:
        claim.check_not_taken(error)
        raise
    claim.check_not_taken()


def _acquire(folder: Path, work: str, is_over: IsOver, notice: Notice) -> Claim:
    """Take the next number in `folder`, once its last holder is done or dead.

    A silent holder may go on at this moment, and have looked its claim up just before. So who takes
    over from one waits, for as long as a look-up counts, before it begins.

    Raises:
        BusyError: It lives.
    """
    claimant = Claimant(uuid.uuid4().hex, Holder.of(os.getpid()), silent_seconds(), work)
    while True:
        detector = Detector(folder, is_over)
        if detector.decided(notice) is not ClaimState.FREE:
            holder = detector.holder
            who = holder.at_work() if holder is not None else "a process is at work here"
            message = f"{folder.parent}: {who}"
            raise BusyError(message)
        number = 1 + (detector.seen.number if detector.seen is not None else 0)
        began = _now()
        if files.link(folder, number, claimant):
            files.clear(folder, number)
            if detector.was_silent:
                clock.sleep(GRACE_BEATS * detector.limit / BEATS)
            return Claim(folder, number, claimant.token, claimant.silent_seconds, began)


def _beat(claim: Claim, over: threading.Event) -> None:
    """Beat until the claim is over or lost, even if the file system refuses for a while."""
    count = 0
    while not over.wait(claim.silent_seconds / BEATS):
        count += 1
        with suppress(OSError):
            if not claim.beat(count):
                return
