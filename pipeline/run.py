"""The run folder: every path in it, how a task finishes there, and who holds it now.

<root>/<campaign>/  campaign.toml  site.toml  environment.json  ledger/  report/
  data/<dataset>.zarr
  <stage>/<task name>/  task.toml  logs/  metrics.jsonl  checkpoints/  result.json  DONE
"""

import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

# How often a claim that beats is touched, and after what silence its holder is believed dead.
BEAT_SECONDS = 15.0
SILENT_SECONDS = 120.0


class Exit(IntEnum):
    """Exit codes of our programs; 85 asks for another link, the others follow sysexits.h."""

    FINISHED = 0
    FAILED = 1
    USAGE = 2
    BAD_INPUT = 65
    CANNOT_WRITE = 73
    BUSY = 75
    CONTINUE = 85
    DIVERGED = 86
    HANG = 87
    OUT_OF_MEMORY = 88
    PEER_LOST = 89


# The exit code of each class of failure that a training's `result.json` may name as its outcome.
CODES = {
    "bad_input": Exit.BAD_INPUT,
    "cannot_write": Exit.CANNOT_WRITE,
    "disk_full": Exit.CANNOT_WRITE,
    "damaged": Exit.BUSY,
    "diverged": Exit.DIVERGED,
    "hang": Exit.HANG,
    "out_of_memory": Exit.OUT_OF_MEMORY,
    "peer_lost": Exit.PEER_LOST,
    "error": Exit.FAILED,
}


class RunError(RuntimeError):
    """The run folder cannot be used; the message says what to do, `code` how a program ends."""

    code: int = Exit.BUSY


class BusyError(RunError):
    """A living process works here already; what it makes is not to be touched."""


class NoRoomError(RunError):
    """What is to be written does not fit on its disk."""

    code = Exit.CANNOT_WRITE


@dataclass(frozen=True)
class TaskFolder:
    """The files of one task, as properties."""

    path: Path

    @property
    def declaration(self) -> Path:
        """The resolved task, all that a compute node needs to know."""
        return self.path / "task.toml"

    @property
    def logs(self) -> Path:
        """What the task's jobs printed, and their scripts."""
        return self.path / "logs"

    @property
    def parts(self) -> Path:
        """One small JSON per finished part of a task that fans out."""
        return self.path / "parts"

    @property
    def finished_parts(self) -> list[Path]:
        """The records of parts that are finished, numbered files among what else lies there."""
        return [path for path in self.parts.glob("*.json") if path.stem.isdigit()]

    @property
    def metrics(self) -> Path:
        """One JSON object per training step."""
        return self.path / "metrics.jsonl"

    @property
    def progress(self) -> Path:
        """How far the task is: {"done": n, "total": m, "unit": "events"}."""
        return self.path / "progress.json"

    @property
    def links(self) -> Path:
        """One JSON per link of a training: when it began, worked and ended."""
        return self.path / "links"

    @property
    def link_records(self) -> list[Path]:
        """The records of the links that took a step, in their order."""
        return sorted(path for path in self.links.glob("*.json") if path.stem.isdigit())

    @property
    def profile(self) -> Path:
        """A trace of some steps, and a table of where they went."""
        return self.path / "profile"

    @property
    def checkpoints(self) -> Path:
        """The checkpoints, `step-<samples>` each."""
        return self.path / "checkpoints"

    @property
    def result(self) -> Path:
        """How the task ended, with its numbers."""
        return self.path / "result.json"

    @property
    def done(self) -> Path:
        """The marker that the product is whole."""
        return self.path / "DONE"

    @property
    def claim(self) -> Path:
        """Which process works here now."""
        return self.path / "claim.json"

    @property
    def heartbeat(self) -> Path:
        """The last sign of life of a training: time, step, rank, host, job."""
        return self.path / "heartbeat.json"

    @property
    def chain(self) -> Path:
        """The links of a training: which were begun, how each ended, why there is no other."""
        return self.path / "chain"

    @property
    def save_request(self) -> Path:
        """Whoever makes this file asks the link to save and end; the next one goes on."""
        return self.path / "SAVE"

    @property
    def stop(self) -> Path:
        """While this file is there the task saves and ends, and no link of it is submitted."""
        return self.path / "STOP"

    @property
    def run_stop(self) -> Path:
        """The same for the whole run, of which the task's folder is <stage>/<name>."""
        return self.path.parent.parent / "STOP"

    def stacks(self, rank: int) -> Path:
        """Return where the process `rank` of a link that hung left the stacks of its threads."""
        return self.logs / f"stacks-rank-{rank}.txt"

    @property
    def is_done(self) -> bool:
        """Whether the task's product is whole."""
        return self.done.is_file()

    def finish(self, result: dict[str, Any]) -> None:
        """Record `result`, then mark the task done; a kill in between leaves it not done."""
        write_json(self.result, {"outcome": "finished", **result})
        write_text(self.done, "")

    def fail(self, outcome: str, message: str) -> None:
        """Record why the task ended without its product."""
        write_json(self.result, {"outcome": outcome, "message": message})


@dataclass(frozen=True)
class Run:
    """One campaign's folder; every path in it is a property here."""

    root: Path
    campaign: str

    @property
    def path(self) -> Path:
        """The run folder itself."""
        return self.root / self.campaign

    @property
    def declaration(self) -> Path:
        """The campaign as it was first run."""
        return self.path / "campaign.toml"

    @property
    def site(self) -> Path:
        """The site as it was last run."""
        return self.path / "site.toml"

    @property
    def environment(self) -> Path:
        """Versions, git commit and machine of the last controller."""
        return self.path / "environment.json"

    @property
    def ledger(self) -> Path:
        """The folder of node-hour records, one immutable file each."""
        return self.path / "ledger"

    @property
    def forecast(self) -> Path:
        """What was expected when somebody last asked, for the report."""
        return self.path / "forecast.json"

    @property
    def report(self) -> Path:
        """The folder of the report."""
        return self.path / "report"

    @property
    def page(self) -> Path:
        """The report: one self-contained HTML page."""
        return self.report / "index.html"

    @property
    def crate(self) -> Path:
        """What lies in the folder, and which task made it of what: an RO-Crate."""
        return self.path / "ro-crate-metadata.json"

    @property
    def stop(self) -> Path:
        """While this file is there every training saves and ends, and nothing is submitted."""
        return self.path / "STOP"

    @property
    def code(self) -> Path:
        """Copies of our own code, `<digest>/` each, which jobs import."""
        return self.path / "code"

    @property
    def preflight(self) -> Path:
        """What was found of the site before the first submission."""
        return self.path / "preflight.json"

    @property
    def suspects(self) -> Path:
        """Which jobs failed in a way that may be their nodes' fault, one file each."""
        return self.path / "suspects"

    @property
    def bundles(self) -> Path:
        """The scripts of jobs that several trainings share, and what those printed themselves."""
        return self.path / "bundles"

    @property
    def parsl(self) -> Path:
        """Parsl's own logs."""
        return self.path / "parsl"

    @property
    def claim(self) -> Path:
        """Which controller drives the campaign now."""
        return self.path / "controller.json"

    @property
    def identity(self) -> str:
        """What tells this run from any other, also from an earlier one in a folder of this name.

        Before `identify` there is only the path to go by, which is enough to show a plan.
        """
        try:
            return self.identity_file.read_text().strip()
        except FileNotFoundError:
            return str(self.path.resolve())

    @property
    def identity_file(self) -> Path:
        """Where the identity is kept; it moves with the folder."""
        return self.path / "identity"

    def identify(self) -> None:
        """Give the run its identity, once."""
        if not self.identity_file.exists():
            write_text(self.identity_file, uuid.uuid4().hex + "\n")

    def store(self, dataset: str) -> Path:
        """Return the folder of the Zarr store of `dataset`."""
        return self.path / "data" / f"{dataset}.zarr"

    def croissant(self, dataset: str) -> Path:
        """Return the file that describes the store of `dataset` to other tools."""
        return self.store(dataset).with_name(f"{dataset}.croissant.json")

    def task(self, key: str) -> TaskFolder:
        """Return the folder of the task `key`, "<stage>/<name>"."""
        return TaskFolder(self.path / key)


def write_text(path: Path, text: str) -> None:
    """Write `text` so that `path` holds all of it or what it held before.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException as error:
        if isinstance(error, OSError):  # a write that meets a full disk names no file
            error.filename = error.filename or str(path)
        temporary.unlink(missing_ok=True)
        raise


def create_text(path: Path, text: str) -> bool:
    """Write a new file of `text`; return False, and change nothing, where there is one already.

    It is linked into place, so that of two writers one wins and no reader sees half a file: also on
    Lustre and NFS, where flock is not to be had.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.new")
    write_text(temporary, text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        # NFS may lose the answer of a link that was made, and find the name taken the second time
        return temporary.stat().st_nlink == 2
    finally:
        temporary.unlink()
    return True


def create_json(path: Path, value: object) -> bool:
    """Write a new file of `value` as JSON; return False where there is one already."""
    return create_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in `path`, None where there is no such file.

    Raises:
        RunError: The file is there and holds no JSON object.
    """
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        message = f"{path}: damaged ({error}). Move it away and run again."
        raise RunError(message) from error
    if not isinstance(value, dict):
        message = f"{path}: expected a JSON object, found {type(value).__name__}."
        raise RunError(message)
    return value


@dataclass(frozen=True)
class Holder:
    """A process that a claim names: `started` tells it from a later one of the same number."""

    host: str
    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Holder":
        """Return the holder that the living process `pid` of this host would be."""
        return cls(socket.gethostname(), pid, process_started(pid) or 0)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs; of another host we cannot tell, and say no."""
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

    Of a process on another host only a claim that beats can tell that it lives.
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
    """Touch a claim until it is over; that a file system refuses for a while is no matter."""
    while not over.wait(BEAT_SECONDS):
        with suppress(OSError):
            os.utime(path)


def _clear(path: Path) -> None:
    """Remove a claim whose holder is dead, and no other.

    Two processes may find it dead at once, and the slower one must not remove the claim that the
    faster one has put there since: so it is moved aside, looked at, and put back if it lives.
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

    The claim is linked into place, which is atomic on Lustre and NFS, where flock is not to be had.
    One that `beats` is touched all the while, so that processes on other hosts believe it too.

    Raises:
        BusyError: A living process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = Holder.of(os.getpid())
    temporary = path.with_name(f".{path.name}.{mine.pid}.tmp")
    try:
        temporary.write_text(json.dumps(vars(mine) | {"beats": beats}))
        while True:
            try:
                os.link(temporary, path)
                break
            except FileExistsError:
                other = holder(path)
                if other is not None:
                    message = (
                        f"{path.parent}: process {other.pid} on {other.host} is at work here. "
                        f"Wait for it, or end it with: {other.how_to_end()}"
                    )
                    raise BusyError(message) from None
                _clear(path)
        over = threading.Event()
        if beats:
            threading.Thread(target=_beat, args=(path, over), daemon=True).start()
        try:
            yield
        finally:
            over.set()
            path.unlink(missing_ok=True)
    finally:
        temporary.unlink(missing_ok=True)
