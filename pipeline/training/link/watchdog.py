"""The heartbeat of a training, and the watchdog that ends a process which has lost it.

A collective that one process never enters waits for ever, and the scheduler charges for it: Slurm
shows RUNNING until the walltime. So the loop gives a beat at each step, and a thread listens. It
counts its own short waits: the time for which the whole process was stopped, as in a suspended job,
is no silence.
"""

import faulthandler
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pipeline import claims, records
from pipeline.outcome import Exit
from pipeline.records import Heartbeat
from pipeline.run import TaskFolder
from pipeline.training.link import backstop
from pipeline.training.link.here import now, this_link
from pipeline.training.link.throttle import Throttle

if TYPE_CHECKING:
    import subprocess

HEARTBEAT_SECONDS = 5.0
GRACE_SECONDS = 2.0  # in which all processes write their stacks, before the first one reads them
BACKSTOP_SECONDS = 10.0
WAIT_SECONDS = 1.0
WARM_UP, STEPS_KNOWN = 3, 20  # steps: the first ones compile, and tell nothing of the others
TIMES, LEAST_SECONDS = 20.0, 600.0  # a file system that fails over takes minutes
MOST_NAMED = 8
STDERR = 2  # the file descriptor: sys.stderr may be replaced


class Watchdog:
    """Ends this process when there is no `beat` for `seconds`; never if they are None.

    Once it has seen `STEPS_KNOWN` steps it waits for the next no longer than `TIMES` the longest
    pause between beats so far, though ten minutes at least: a hang of 64 nodes costs 32 node-hours
    in half an hour. Before the first steps, and from `expect_long` to the next step, as while a
    checkpoint is saved, it waits for all of `seconds`.

    It writes the stack of each thread to `logs/stacks-rank-N.txt`, records the outcome `hang`, and
    exits with `Exit.HANG`, whatever the other threads do. If a C extension holds the interpreter's
    lock, no thread of Python runs: then another process (`backstop`) signals this one a little
    later, and `faulthandler`, which needs no lock, writes the stacks to the log as it ends.
    """

    def __init__(self, folder: TaskFolder, rank: int, seconds: float | None) -> None:
        self.folder, self.rank, self.seconds = folder, rank, seconds
        self.step = 0
        self._beats = self._steps = 0
        self._is_long = True
        self._longest = 0.0  # pause between beats while only steps were expected
        self._over = threading.Event()
        self._may_write, self._may_pass_on = Throttle(HEARTBEAT_SECONDS), Throttle(1.0)
        self._backstop: subprocess.Popen[bytes] | None = None
        self._listener = threading.Thread(target=self._listen, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        """Begin to listen; the time until the first step has the same limit."""
        if self.seconds is not None:
            faulthandler.register(backstop.SIGNAL, file=STDERR, all_threads=True, chain=True)
            self._backstop = backstop.start(self.seconds + BACKSTOP_SECONDS)
            self.beat()
            self._listener.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop listening."""
        self._over.set()
        if self._backstop is not None and self._backstop.stdin is not None:
            self._backstop.stdin.close()
            self._backstop.wait()
            faulthandler.unregister(backstop.SIGNAL)

    def beat(self, step: int | None = None) -> None:
        """Record that this process makes progress, and the `step` it has done, if that is given.

        The first process also writes `heartbeat.json` every few seconds.
        """
        self._beats += 1
        if step is not None:
            self.step = step
            self._steps += 1
            self._is_long = self._steps < WARM_UP
        if self.seconds is None:
            return
        if self._backstop is not None and self._may_pass_on():
            self._pass_on(self._backstop)
        if self.rank == 0 and self._may_write() and claims.are_recent():
            link = this_link()
            beat = Heartbeat(
                time=now(),
                seconds=max(0.0, now() - link.started),
                link=link.key,
                job=link.job_id,
                host=socket.gethostname(),
                step=self.step,
            )
            records.write(self.folder.heartbeat, beat, durable=False)

    def expect_long(self, expected: bool = True) -> None:
        """Say that what is done before the next step may take as long as the start, if it may."""
        self._is_long |= expected

    @property
    def limit(self) -> float:
        """The seconds without a beat after which this process is ended now."""
        seconds = self.seconds or 0.0
        if self._is_long or self._steps < STEPS_KNOWN:
            return seconds
        return min(seconds, max(LEAST_SECONDS, TIMES * self._longest))

    @staticmethod
    def _pass_on(process: "subprocess.Popen[bytes]") -> None:
        """Give a beat to the process that watches this one; without it the thread is enough."""
        if process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.write(b".")

    def _listen(self) -> None:
        seconds = self.seconds or 0.0
        wait = min(WAIT_SECONDS, seconds / 10)
        silent, beats, was_long = 0.0, self._beats, True
        while not self._over.wait(wait):
            silent += wait
            if self._beats != beats:
                if not (was_long or self._is_long):
                    self._longest = max(self._longest, silent)
                silent, beats = 0.0, self._beats
            was_long = self._is_long
            if silent >= self.limit:
                self._end_process(self.limit)

    def _end_process(self, limit: float) -> None:
        """Write the stacks and the result, and end the process even if they cannot be written."""
        try:
            self._write_stacks(limit)
            first = self.rank == 0
            time.sleep(GRACE_SECONDS if first else 1.5 * GRACE_SECONDS)
            if claims.are_held() and not self.folder.result.exists():
                self.folder.fail("hang", self._message(limit))
        finally:
            os._exit(Exit.HANG)

    def _write_stacks(self, limit: float) -> None:
        path = self.folder.stacks(self.rank)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as stream:
            stream.write(f"{_link()}\nrank {self.rank} {_position()}, after step {self.step}\n\n")
            stream.flush()
            faulthandler.dump_traceback(stream, all_threads=True)
        message = f"rank {self.rank}: no step for {limit:g} s after step {self.step}: see {path}"
        print(message, file=sys.stderr, flush=True)

    def _message(self, limit: float) -> str:
        """Return where each process of this link hangs, by the stacks that all have written."""
        paths = sorted(self.folder.logs.glob("stacks-rank-*.txt"))
        heads = [_head(path, 2) for path in paths]
        here = [head[1] for head in heads if len(head) == 2 and head[0] == _link()]
        others = f"; and {len(here) - MOST_NAMED} more" if len(here) > MOST_NAMED else ""
        return (
            f"No step for {limit:g} s: {'; '.join(here[:MOST_NAMED])}{others}. The stacks of "
            f"all threads are in {self.folder.logs}/stacks-rank-*.txt: a rank that is not in a "
            "collective is the one that the others wait for. Raise "
            "hang_seconds if saves or the start do take that long."
        )


def _head(path: Path, lines: int) -> list[str]:
    """Return the first lines of a file."""
    with path.open() as stream:
        return [line.rstrip("\n") for line in islice(stream, lines)]


def _link() -> str:
    return f"link {this_link().key or '(none)'}"


def _position() -> str:
    """Return the line of Python at which the main thread stands."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001
    if frame is None:
        return "at no line of Python"
    return f"in {frame.f_code.co_name} ({frame.f_code.co_filename}:{frame.f_lineno})"
