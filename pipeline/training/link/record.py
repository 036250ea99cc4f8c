"""`links/NNN.json`: the life of each link of a training, a killed one too."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.claims import process_started
from pipeline.outcome import Exit, classify
from pipeline.run import TaskFolder
from pipeline.training.engine.engine import World
from pipeline.training.link.here import this_link
from pipeline.writing import write_json


class LinkRecord:
    """What is written of this link, by the first process alone.

    All times are in seconds since 1970: `began`, when the batch script did; `started`, the program;
    `first_step` and `last_step`, the beginning of the first step and the end of the last one told;
    `ended`, all work done. `outcome` is "finished", "continue" or the class of what ended it, and
    empty as long as the link is at work: for ever, if it was killed.
    """

    def __init__(self, folder: TaskFolder, world: World) -> None:
        link, started = this_link(), program_started()
        number = 1 + max((int(path.stem) for path in folder.link_records), default=0)
        self.path = folder.links / f"{number:03d}.json"
        self.writes = world.is_first
        self.told: dict[str, Any] = {
            "number": number,
            "key": link.key,
            "job_id": link.job_id,
            "host": socket.gethostname(),
            "processes": world.size,
            "device": world.device.type,
            "began": min(link.started, started),
            "started": started,
            "first_step": None,
            "last_step": None,
            "ended": None,
            "steps": 0,
            "events": 0,
            "saving_seconds": 0.0,
            "outcome": "",
        }

    def __enter__(self) -> Self:
        """Nothing is written before the first step: until then the link has done no work."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell the end."""
        outcome = self.told["outcome"] or "finished"
        if error is not None:
            outcome = classify(error).outcome.name
        self._write(ended=time.time(), outcome=outcome)

    def step(self, events: int, seconds: float) -> None:
        """Count a step of `events` events that took `seconds` and has just ended."""
        now = time.time()
        self.told["steps"] += 1
        self.told["events"] += events
        self.told["last_step"] = now
        if self.told["first_step"] is None:
            self._write(first_step=now - seconds)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Count the time of a checkpoint, which the body writes, and tell all there is."""
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        self._write(saving_seconds=self.told["saving_seconds"] + seconds)

    def leave(self) -> None:
        """Note that the link ends before the training does, to be continued."""
        self.told["outcome"] = Exit.CONTINUE.name.lower()

    def _write(self, **changes: Any) -> None:
        self.told |= changes
        if self.writes:
            write_json(self.path, self.told)


def program_started() -> float:
    """Return when this process was started, in seconds since 1970; to some hundredths."""
    ticks = process_started(os.getpid()) or 0
    booted = time.time() - float(Path("/proc/uptime").read_text().split()[0])
    return booted + ticks / os.sysconf("SC_CLK_TCK")
