"""The devices of a machine without a scheduler, as locked files: the kernel frees a dead job's."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def held(folder: Path, *, devices: int, of: int, poll_seconds: float = 0.2) -> Iterator[None]:
    """Hold `devices` of the `of` slots in `folder` while the body runs; wait until they are free.

    One job at a time collects slots: small jobs cannot overtake a large one for ever, and two jobs
    that hold some slots each never wait for each other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    slots: dict[Path, IO[str]] = {}
    try:
        with (folder / "queue").open("w") as queue:
            fcntl.flock(queue, fcntl.LOCK_EX)
            while not _taken(slots, folder, devices, of):
                time.sleep(poll_seconds)
        yield
    finally:
        for slot in slots.values():
            slot.close()


def _taken(slots: dict[Path, IO[str]], folder: Path, devices: int, of: int) -> bool:
    """Add free slots to `slots` and return whether it holds `devices` of them."""
    for path in (folder / f"device-{number}" for number in range(of)):
        if len(slots) < devices and path not in slots:
            slot = _locked(path)
            if slot is not None:
                slots[path] = slot
    return len(slots) == devices


def _locked(path: Path) -> IO[str] | None:
    """Return the file `path`, opened and locked; None where another process has the lock."""
    slot = path.open("w")
    try:
        fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        slot.close()
        return None
    return slot
