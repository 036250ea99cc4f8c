"""When controllers lived, beside the run: without one, nobody submits what is left.

A file for each controller, which it writes again now and then, so that the life of one that was
killed is known too.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pipeline import claims, clock
from pipeline.outcome import RunError
from pipeline.run import Run
from pipeline.trust import user_name
from pipeline.writing import read_json, write_json

NOTE_SECONDS = 60.0


@dataclass(frozen=True)
class Life:
    """A controller's life, of `user` on `host`: when it `began` and was last `seen`.

    Times are seconds since 1970 by its own clock. `ending` says how it ended, empty for one that
    lives or was killed: "done", "failed", or the class of an error.
    """

    began: float
    seen: float
    user: str
    host: str
    ending: str = ""


LIFE = TypeAdapter(Life)


class Attendance:
    """The life of this controller, as it goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        now = clock.time()
        self._life = Life(now, now, user_name(), socket.gethostname())
        self._noted = 0.0

    def note(self, ending: str = "") -> None:
        """Write that the controller lives, at most once a minute, or how it ends."""
        now = clock.monotonic()
        if not ending and self._noted and now - self._noted < NOTE_SECONDS:
            return
        self._noted = now
        write_json(self.path, asdict(self._life) | {"seen": clock.time(), "ending": ending})

    def end(self, problems: Sequence[str]) -> None:
        """Write that the controller ends: all is done, or there were problems."""
        self.note("failed" if problems else "done")


@contextmanager
def attending(run: Run) -> Iterator[Attendance]:
    """Record the life of the controller that holds the claim of `run`; its caller says how it ends.

    An exception is its ending, unless another controller has taken over.
    """
    mine = Attendance(run.controllers / f"{claims.number_of(run.claim):08d}.json")
    mine.note()
    try:
        yield mine
    except BaseException as error:
        if claims.are_held():
            mine.note(type(error).__name__)
        raise


def driver(run: Run) -> str:
    """Return whose controller drives a run, or did last, and since when; empty if none ever did."""
    known = lives(run)
    if not known:
        return ""
    last = known[-1]
    whose, seen = f"{last.user} on {last.host}", clock.moment(last.seen)
    if last.ending:
        return f"No controller runs. The last one, of {whose}, ended at {seen}: {last.ending}."
    claim = claims.newest(run.claim)
    if claim is not None and not claim.is_over:
        return f"Driven by {whose} since {clock.moment(last.began)}, last seen at {seen}."
    return f"No controller runs. The last one, of {whose}, was last seen at {seen}."


def lives(run: Run) -> list[Life]:
    """Return the lives of all controllers of a run, by their begin; damaged files are left out."""
    found = []
    for path in sorted(run.controllers.glob("*.json")):
        try:
            found.append(LIFE.validate_python(read_json(path)))
        except (ValidationError, RunError):
            continue
    return sorted(found, key=lambda life: life.began)
