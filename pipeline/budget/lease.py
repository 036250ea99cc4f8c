"""The lease on a ledger: a lock that expires, for file systems on which flock cannot be trusted.

A lease is a file that is hard-linked into place: on Lustre, NFS and GPFS one process alone can do
that. A process that dies leaves its lease behind, which expires once a waiting process has seen the
same lease for `LEASE_SECONDS`, by its own monotonic clock: no clocks of two machines are compared.
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
def lease(folder: Path, lease_seconds: float | None = None) -> Iterator[None]:
    """Hold the only lease on `folder` while the body runs; by default for `LEASE_SECONDS`.

    A process that is paused for longer than `lease_seconds` loses the lease without notice, so the
    body must check its result again after it has written.

    Raises:
        LeaseError: Another process held the lease for three times `lease_seconds`.
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex
    mine, held = folder / f"{NAME}.{token}", folder / NAME
    mine.write_text(f"{os.uname().nodename} {os.getpid()}\n{token}\n")
    try:
        _acquire(mine, held, LEASE_SECONDS if lease_seconds is None else lease_seconds)
        yield
    finally:
        if _same(mine, held):
            held.unlink(missing_ok=True)
        mine.unlink(missing_ok=True)


def _acquire(mine: Path, held: Path, lease_seconds: float) -> None:
    """Link `mine` to `held` once no process holds the lease, or once the holder's has expired."""
    began = seen_since = time.monotonic()
    seen: str | None = None
    while True:
        try:
            os.link(mine, held)
        except FileExistsError:
            if _same(mine, held):
                return  # NFS may lose the answer to a link that was made
        else:
            return
        now, content = time.monotonic(), _content(held)
        if content != seen:
            seen, seen_since = content, now
        if seen is not None and now - seen_since > lease_seconds:
            _remove_expired(held, mine, seen)
        elif now - began > 3 * lease_seconds:
            message = f"{held}: held by {_holder(held)}. Remove it if that process is dead."
            raise LeaseError(message)
        else:
            time.sleep(POLL_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - no secret


def _remove_expired(held: Path, mine: Path, expired: str) -> None:
    """Remove the lease `expired`; put another one back that was taken in the meantime."""
    aside = mine.with_name(f"{mine.name}.aside")
    try:
        held.rename(aside)
    except FileNotFoundError:
        return
    if _content(aside) != expired:
        # If another process acquired it meanwhile, both check their result again after writing.
        with suppress(FileExistsError):
            os.link(aside, held)
    aside.unlink(missing_ok=True)


def _same(mine: Path, held: Path) -> bool:
    try:
        return mine.samefile(held)
    except FileNotFoundError:
        return False


def _content(held: Path) -> str | None:
    """Return the content of a lease, which no two have in common; None if there is none."""
    try:
        return held.read_text()
    except FileNotFoundError:
        return None


def _holder(held: Path) -> str:
    content = _content(held)
    if content is None:
        return "no process any more"
    return content.partition("\n")[0] or "an unknown process"
