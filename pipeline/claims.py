"""Who works in a folder: claims, which one process holds while it lives."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.outcome import BusyError
from pipeline.writing import create_text, read_json

# How often a claim with a heartbeat is touched, and after how long without a touch its holder is
# taken for dead.
BEAT_SECONDS = 15.0
SILENT_SECONDS = 120.0


@dataclass(frozen=True)
class Holder:
    """A process that a claim names; `started` distinguishes it from a later one with its id."""

    host: str
    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Holder":
        """Return the holder that the living process `pid` of this host would be."""
        return cls(socket.gethostname(), pid, process_started(pid) or 0)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs; False for another host, where it cannot be seen."""
        return self.host == socket.gethostname() and process_started(self.pid) == self.started

    def how_to_end(self) -> str:
        """Return the command line that ends it, from this host."""
        kill = f"kill {self.pid}"
        return kill if self.host == socket.gethostname() else f"ssh {self.host} {kill}"


def process_started(pid: int) -> int | None:
    """Return the start time of the living process `pid` in clock ticks since boot, else None."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def holder(path: Path) -> Holder | None:
    """Return the living process that holds the claim `path`, None if nobody does.

    Whether a process on another host lives is known only from a claim with a heartbeat.
    """
    value = read_json(path)
    if value is None:
        return None
    claimed = Holder(str(value["host"]), int(value["pid"]), int(value["started"]))
    elsewhere = claimed.host != socket.gethostname()
    beats = elsewhere and value.get("beats", False) and _age_seconds(path) < SILENT_SECONDS
    return claimed if beats or claimed.is_alive else None


def _age_seconds(path: Path) -> float:
    """Return how long ago the file was touched, by the clock of its own file system."""
    now = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.now")
    now.touch()
    try:
        return now.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
    finally:
        now.unlink()


def _beat(path: Path, over: threading.Event) -> None:
    """Touch a claim until it is over, even if the file system refuses for a while."""
    while not over.wait(BEAT_SECONDS):
        with suppress(OSError):
            os.utime(path)


def _clear(path: Path) -> None:
    """Remove a claim whose holder is dead, and no other.

    Two processes may find it dead at the same time, and the slower one must not remove the new
    claim of the faster one: so it moves the file aside, reads it, and puts it back if it lives.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.dead")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if holder(aside) is not None and not path.exists():
        os.link(aside, path)
    aside.unlink()


@contextmanager
def claimed(path: Path, *, beats: bool = False) -> Iterator[None]:
    """Hold the claim `path` while the body runs, so that two processes never do the same work.

    The claim is linked into place, which is atomic on Lustre and NFS, where flock is not available.
    With `beats` it is touched at intervals, so that processes on other hosts respect it too.

    Raises:
        BusyError: A living process holds it.
    """
    mine = Holder.of(os.getpid())
    while not create_text(path, json.dumps(vars(mine) | {"beats": beats})):
        other = holder(path)
        if other is not None:
            message = (
                f"{path.parent}: process {other.pid} on {other.host} is at work here. "
                f"Wait for it, or end it with: {other.how_to_end()}"
            )
            raise BusyError(message)
        _clear(path)
    over = threading.Event()
    if beats:
        threading.Thread(target=_beat, args=(path, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()
        path.unlink(missing_ok=True)
