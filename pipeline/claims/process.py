"""Processes that claims name, and whether one of them can be seen from here."""

import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = Path("/proc/self/ns/pid")


@dataclass(frozen=True)
class Holder:
    """A process that a claim names.

    `started` distinguishes it from a later one with its id, in clock ticks since boot. `boot` and
    `namespace` tell machines and containers apart that share a host name: a process id means
    something in its own namespace alone.
    """

    host: str
    pid: int
    started: int
    boot: str = ""
    namespace: str = ""

    @classmethod
    def of(cls, pid: int) -> "Holder":
        """Return the holder that the living process `pid` of this host would be."""
        return cls(socket.gethostname(), pid, process_started(pid) or 0, boot_id(), namespace())

    @property
    def is_here(self) -> bool:
        """Whether its process id can be looked up from here: same host, boot and namespace."""
        here = (socket.gethostname(), boot_id(), namespace())
        return (self.host, self.boot, self.namespace) == here

    @property
    def is_alive(self) -> bool:
        """Whether the process runs or is stopped; False for another host, where it is not seen."""
        return self.is_here and process_started(self.pid) == self.started

    def how_to_end(self) -> str:
        """Return the command line that ends it, from this host."""
        kill = f"kill {self.pid}"
        if self.is_here:
            return kill
        if self.host == socket.gethostname():
            return f"{kill} (in its own container on {self.host})"
        return f"ssh {self.host} {kill}"

    def at_work(self) -> str:
        """Return that it is at work, and how to end it, for the user."""
        message = (
            f"process {self.pid} on {self.host} is at work here. "
            f"Wait for it, or end it with: {self.how_to_end()}"
        )
        if self.is_alive and _state(self.pid) in "Tt":
            message += f". It is stopped: kill -CONT {self.pid} lets it go on, "
            message += f"kill -9 {self.pid} ends it"
        return message


def process_running(module: str, argument: Path) -> Holder | None:
    """Return a process that runs `python -m MODULE ARGUMENT` on the file `argument`, None if none.

    One of another container is not seen.
    """
    wanted = argument.resolve()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = _words(path)
        if words[1:3] == ["-m", module] and Path(words[-1]).resolve() == wanted:
            found = Holder.of(int(path.parent.name))
            if found.is_alive:
                return found
    return None


def _words(path: Path) -> list[str]:
    """Return the words of a command line in /proc, none if the process is gone."""
    try:
        return path.read_bytes().decode(errors="surrogateescape").rstrip("\0").split("\0")
    except OSError:
        return []


def process_started(pid: int) -> int | None:
    """Return the start time of the living process `pid` in clock ticks since boot, else None."""
    fields = _stat(pid)
    return None if not fields or fields[0] in "ZX" else int(fields[19])


def _state(pid: int) -> str:
    """Return the letter of the state of process `pid`, "X" if it is gone."""
    return (_stat(pid) or ["X"])[0]


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on, none if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Return what distinguishes this boot of this machine from all others; empty if unknown."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def namespace() -> str:
    """Return the namespace in which process ids of this process count; empty if unknown."""
    try:
        return str(NAMESPACE.readlink())
    except OSError:
        return ""
