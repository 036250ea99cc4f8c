"""The heartbeat of a training, and the watchdog that ends a process which has lost it.

A collective of which one process never calls its part waits for ever, and the scheduler charges for
it: Slurm shows RUNNING until the walltime. So the loop tells at each step that it lives, and a
thread listens.
"""

import faulthandler
import os
import socket
import sys
import threading
import time
from typing import Self

from pipeline.run import Exit, TaskFolder, write_json
from pipeline.training.link.here import this_link
from pipeline.training.link.throttle import Every

TELL_SECONDS = 5.0
GRACE_SECONDS = 2.0  # in which all processes write their stacks, before the first one reads them
BACKSTOP_SECONDS = 10.0
MOST_NAMED = 8
STDERR = 2  # the file itself: what Python calls so may be anything


class Watchdog:
    """Ends this process when there is no `beat` for `seconds`; never where they are None.

    It says where each thread stands in `logs/stacks-rank-N.txt`, records the class `hang`, and
    leaves by `Exit.HANG`, whatever the other threads are at. Should a C extension hold the
    interpreter's lock, no thread of Python runs any more: then `faulthandler`, which needs no lock,
    writes the stacks to the log a little later, and ends the process with exit code 1.
    """

    def __init__(self, folder: TaskFolder, rank: int, seconds: float | None) -> None:
        self.folder, self.rank, self.seconds = folder, rank, seconds
        self.step = 0
        self._heard = time.monotonic()
        self._over = threading.Event()
        self._time_to_tell, self._time_to_arm = Every(TELL_SECONDS), Every(1.0)
        self._listener = threading.Thread(target=self._listen, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        """Begin to listen: the start, until the first step, is under the same rule."""
        if self.seconds is not None:
            self.beat()
            self._listener.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Listen no more."""
        self._over.set()
        if self.seconds is not None:
            faulthandler.cancel_dump_traceback_later()

    def beat(self, step: int | None = None) -> None:
        """Say that this process lives, and that it has done `step`, if that is given.

        The first process also says so to the world, in `heartbeat.json`, every few seconds.
        """
        self._heard = time.monotonic()
        self.step = self.step if step is None else step
        if self.seconds is None:
            return
        if self._time_to_arm():
            faulthandler.dump_traceback_later(
                self.seconds + BACKSTOP_SECONDS, exit=True, file=STDERR
            )
        if self.rank == 0 and self._time_to_tell():
            link = this_link()
            now = {"time": time.time(), "step": self.step, "rank": self.rank}
            where = {"host": socket.gethostname(), "job": link.job_id, "link": link.key}
            write_json(self.folder.heartbeat, now | where)

    def _listen(self) -> None:
        seconds = self.seconds or 0.0
        while not self._over.wait(max(0.0, self._heard + seconds - time.monotonic())):
            if time.monotonic() - self._heard >= seconds:
                self._bark()

    def _bark(self) -> None:
        """Write the stacks and the record, and end the process, whether they can be written."""
        try:
            self._write_stacks()
            first = self.rank == 0
            time.sleep(GRACE_SECONDS if first else 1.5 * GRACE_SECONDS)
            if not self.folder.result.exists():
                self.folder.fail("hang", self._message())
        finally:
            os._exit(Exit.HANG)

    def _write_stacks(self) -> None:
        path = self.folder.stacks(self.rank)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as stream:
            stream.write(f"{_link()}\nrank {self.rank} {_place()}, after step {self.step}\n\n")
            stream.flush()
            faulthandler.dump_traceback(stream, all_threads=True)
        told = f"rank {self.rank}: silent for {self.seconds} s after step {self.step}: see {path}"
        print(told, file=sys.stderr, flush=True)  # noqa: T201

    def _message(self) -> str:
        """Return what hangs and where, by what all processes of this link have written."""
        paths = sorted(self.folder.logs.glob("stacks-rank-*.txt"))
        heads = [path.read_text().splitlines()[:2] for path in paths]
        here = [head[1] for head in heads if len(head) == 2 and head[0] == _link()]
        others = f"; and {len(here) - MOST_NAMED} more" if len(here) > MOST_NAMED else ""
        return (
            f"No step for {self.seconds} s: {'; '.join(here[:MOST_NAMED])}{others}. The stacks of "
            f"all threads are in {self.folder.logs}/stacks-rank-*.txt: a rank that is not in a "
            "collective is the one that the others wait for. Raise "
            "hang_seconds if steps, saves or the start do take that long."
        )


def _link() -> str:
    return f"link {this_link().key or '(none)'}"


def _place() -> str:
    """Return the line of Python at which the main thread stands."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001
    if frame is None:
        return "at no line of Python"
    return f"in {frame.f_code.co_name} ({frame.f_code.co_filename}:{frame.f_lineno})"
