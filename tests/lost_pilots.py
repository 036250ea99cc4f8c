"""A campaign's pilots with tasks of a test, on any site: what is lost, replaced and told."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import parsl
from parsl.app.app import bash_app

from pipeline.chains.job_manager import JobManager
from pipeline.planning import code_copy
from pipeline.planning.plan import PILOT
from pipeline.workflow import graph, pilots

if TYPE_CHECKING:
    from concurrent.futures import Future

PATIENCE_SECONDS = 100.0


class Running:
    """Tasks in the pilots of a manager, and what the screen was told meanwhile."""

    def __init__(self, manager: JobManager, kernel: parsl.DataFlowKernel) -> None:
        self.manager, self.kernel = manager, kernel
        self.news: list[str] = []
        self._app = bash_app(graph.shell, data_flow_kernel=kernel, executors=[PILOT])

    def task(self, command: str, log: Path) -> "Future[Any]":
        """Start a command in a pilot, which writes to `log`."""
        return self._app(command, stdout=str(log), stderr=str(log))

    def wait(self, until: Callable[[], bool]) -> None:
        """Wait as the controller does, for as long as a test may take."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not until():
            assert time.monotonic() < deadline, self.news
            self.news += pilots.news(self.kernel)
            self.manager.poll()
            time.sleep(0.1)
        self.news += pilots.news(self.kernel)


@contextmanager
def running(manager: JobManager) -> Iterator[Running]:
    """Start the pilots of `manager`; end them, and what they run, at the end of the body."""
    code_copy.write(manager.plan.run)
    kernel = pilots.load(manager)
    try:
        yield Running(manager, kernel)
    finally:
        manager.stop()
        pilots.leave(kernel)
        manager.cancel([each.job_id for each in manager.unended(PILOT)])


def worker_pools(folder: Path) -> list[int]:
    """Return the living worker pools that log below `folder`, by process id."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        pool = any(word.endswith(b"process_worker_pool.py") for word in words)
        if pool and any(os.fsencode(folder) in word for word in words):
            found.append(int(path.parent.name))
    return found


def kill(pid: int) -> None:
    """Kill a process as the kernel would for its memory."""
    os.kill(pid, signal.SIGKILL)
