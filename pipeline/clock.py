"""The time: the machine's clocks, or the simulated clock of a rehearsal, which never waits."""

import time as machine
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The three functions of the module `time` that the orchestration needs."""

    def time(self) -> float:
        """Return the seconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return the seconds of a clock that never goes back."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
        ...


_clock: Clock = machine


def time() -> float:
    """Return the seconds since 1970."""
    return _clock.time()


def monotonic() -> float:
    """Return the seconds of a clock that never goes back."""
    return _clock.monotonic()


def sleep(seconds: float) -> None:
    """Wait."""
    _clock.sleep(seconds)


def moment(seconds: float) -> str:
    """Return a time, in seconds since 1970, to the minute: "2026-11-03 14:20 UTC"."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


@contextmanager
def set_to(clock: Clock) -> Iterator[None]:
    """Use `clock` in all threads of this process while the body runs."""
    global _clock  # noqa: PLW0603 - there is one time
    before, _clock = _clock, clock
    try:
        yield
    finally:
        _clock = before
