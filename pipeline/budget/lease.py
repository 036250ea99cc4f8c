"""Whose turn it is at a ledger: one process at a time, on file systems without locks.

A turn is a file that is linked into place, which one process alone can do on Lustre, NFS and GPFS,
where flock is not to be trusted. Whoever dies leaves it; it is good for `LEASE_SECONDS`. Ages are
told by the file system's own clock, so that login nodes whose clocks differ agree on them.
"""

import os
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = ".turn"
LEASE_SECONDS = 60.0  # a turn takes milliseconds, and seconds on a busy file system
LOOK_SECONDS = 0.02


class TurnError(TimeoutError):
    """A turn did not come; the message says who has it."""


@contextmanager
def turn(folder: Path, lease_seconds: float = LEASE_SECONDS) -> Iterator[None]:
    """Have the only turn at `folder` while the body runs, if that takes no longer than the lease.

    One that is paused for longer has lost it without notice: what is at stake must be checked again
    after the deed.

    Raises:
        TurnError: It did not come in three leases.
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mine, taken = folder / f"{NAME}.{uuid.uuid4().hex}", folder / NAME
    mine.write_text(f"{os.uname().nodename} {os.getpid()}\n")
    try:
        _take(mine, taken, lease_seconds)
        yield
    finally:
        if _same(mine, taken):
            taken.unlink(missing_ok=True)
        mine.unlink(missing_ok=True)


def _take(mine: Path, taken: Path, lease_seconds: float) -> None:
    """Link `mine` to `taken`, when nobody else has it or whoever had it let the lease pass."""
    deadline = time.monotonic() + 3 * lease_seconds
    while True:
        os.utime(mine)  # now, as the file system says
        try:
            os.link(mine, taken)
        except FileExistsError:
            if _same(mine, taken):
                return  # NFS may lose the answer of a link that was made
        else:
            return
        if _age(mine, taken) > lease_seconds:
            _remove(taken, mine, lease_seconds)
        elif time.monotonic() > deadline:
            message = f"{taken}: held by {_holder(taken)}. Remove it if that process is dead."
            raise TurnError(message)
        else:
            time.sleep(LOOK_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - no secret


def _remove(taken: Path, mine: Path, lease_seconds: float) -> None:
    """Take away a turn whose lease has passed; one that is new by now is put back."""
    aside = mine.with_name(f"{mine.name}.aside")
    try:
        taken.rename(aside)
    except FileNotFoundError:
        return
    if _age(mine, aside) <= lease_seconds:
        with suppress(FileExistsError):  # somebody has it already; both check again after the deed
            os.link(aside, taken)
    aside.unlink(missing_ok=True)


def _age(mine: Path, taken: Path) -> float:
    """Return how long ago a turn was taken, by the clock that gave both files their times."""
    try:
        return mine.stat().st_mtime - taken.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _same(mine: Path, taken: Path) -> bool:
    try:
        return mine.samefile(taken)
    except FileNotFoundError:
        return False


def _holder(taken: Path) -> str:
    try:
        return taken.read_text().strip() or "nobody that says so"
    except FileNotFoundError:
        return "nobody any more"
