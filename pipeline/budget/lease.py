"""The lease on a ledger: a lock that expires, for file systems on which flock cannot be trusted.

A lease is a file that is hard-linked into place: on Lustre, NFS and GPFS one process alone can do
that. A process that dies leaves its lease behind, which expires after `LEASE_SECONDS`. Ages follow
the file system's own clock, so login nodes whose clocks differ agree on them.
"""

import os
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = ".lease"
LEASE_SECONDS = 60.0  # held for milliseconds, and for seconds on a busy file system
POLL_SECONDS = 0.02


class LeaseError(TimeoutError):
    """The lease stayed with another process; the message names its holder."""


@contextmanager
def lease(folder: Path, lease_seconds: float = LEASE_SECONDS) -> Iterator[None]:
    """Hold the only lease on `folder` while the body runs.

    A process that is paused for longer than `lease_seconds` loses the lease without notice, so the
    body must check its result again after it has written.

    Raises:
        LeaseError: Another process held the lease for three times `lease_seconds`.
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mine, held = folder / f"{NAME}.{uuid.uuid4().hex}", folder / NAME
    mine.write_text(f"{os.uname().nodename} {os.getpid()}\n")
    try:
        _acquire(mine, held, lease_seconds)
        yield
    finally:
        if _same(mine, held):
            held.unlink(missing_ok=True)
        mine.unlink(missing_ok=True)


def _acquire(mine: Path, held: Path, lease_seconds: float) -> None:
    """Link `mine` to `held` once no process holds the lease, or once the holder's has expired."""
    deadline = time.monotonic() + 3 * lease_seconds
    while True:
        os.utime(mine)  # now, by the file system's clock
        try:
            os.link(mine, held)
        except FileExistsError:
            if _same(mine, held):
                return  # NFS may lose the answer to a link that was made
        else:
            return
        if _age(mine, held) > lease_seconds:
            _remove_expired(held, mine, lease_seconds)
        elif time.monotonic() > deadline:
            message = f"{held}: held by {_holder(held)}. Remove it if that process is dead."
            raise LeaseError(message)
        else:
            time.sleep(POLL_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - no secret


def _remove_expired(held: Path, mine: Path, lease_seconds: float) -> None:
    """Remove an expired lease; put it back if it was renewed in the meantime."""
    aside = mine.with_name(f"{mine.name}.aside")
    try:
        held.rename(aside)
    except FileNotFoundError:
        return
    if _age(mine, aside) <= lease_seconds:
        # If another process acquired it meanwhile, both check their result again after writing.
        with suppress(FileExistsError):
            os.link(aside, held)
    aside.unlink(missing_ok=True)


def _age(mine: Path, held: Path) -> float:
    """Return the age of a lease in seconds, by the clock that dated both files."""
    try:
        return mine.stat().st_mtime - held.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _same(mine: Path, held: Path) -> bool:
    try:
        return mine.samefile(held)
    except FileNotFoundError:
        return False


def _holder(held: Path) -> str:
    try:
        return held.read_text().strip() or "an unknown process"
    except FileNotFoundError:
        return "no process any more"
