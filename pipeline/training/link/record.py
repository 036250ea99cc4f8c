"""`links/NNN.json`: the life of each link of a training, a killed one too."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline import claims, records
from pipeline.outcome import classify
from pipeline.records import LinkRecord
from pipeline.run import TaskFolder
from pipeline.training.engine.engine import World
from pipeline.training.link.here import now, this_link


class LinkRecorder:
    """Writes the record of this link; only the first process writes."""

    def __init__(self, folder: TaskFolder, world: World) -> None:
        link, started = this_link(), program_started()
        number = 1 + max((int(path.stem) for path in folder.link_records), default=0)
        self.path = folder.links / f"{number:03d}.json"
        self.writes = world.is_first
        self.record = LinkRecord(
            number=number,
            key=link.key,
            job_id=link.job_id,
            host=socket.gethostname(),
            processes=world.size,
            device=world.device.type,
            began=min(link.started, started),
            started=started,
        )

    def __enter__(self) -> Self:
        """Write nothing yet: until its first step a link has done no work."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Record the end."""
        outcome = self.record.outcome or "finished"
        if error is not None:
            outcome = classify(error).outcome.name
        self._write(ended=now(), outcome=outcome)

    def step(self, events: int, seconds: float) -> None:
        """Count a step of `events` events that took `seconds` and has just ended."""
        time_now, record = now(), self.record
        self._change(steps=record.steps + 1, events=record.events + events, last_step=time_now)
        if record.first_step is None:
            self._write(first_step=time_now - seconds)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Count the time of a checkpoint, which the body writes; then write the record."""
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        self._write(saving_seconds=self.record.saving_seconds + seconds)

    def leave(self) -> None:
        """Note that the link ends before the training does, to be continued."""
        self._change(outcome="continue")

    def _change(self, **changes: Any) -> None:
        self.record = self.record.model_copy(update=changes)

    def _write(self, **changes: Any) -> None:
        self._change(**changes)
        if self.writes and claims.are_recent():
            records.write(self.path, self.record)


def program_started() -> float:
    """Return when this process started, in seconds since 1970, to a few hundredths."""
    ticks = claims.process_started(os.getpid()) or 0
    booted = time.time() - float(Path("/proc/uptime").read_text().split()[0])
    return booted + ticks / os.sysconf("SC_CLK_TCK")
