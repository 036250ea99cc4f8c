"""Ranks without the seconds of importing torch and DeepSpeed: forked from a process that has them.

What runs in a rank is the same program, `__main__` and all; signals and kill -9 are real.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

PRELOADED = "rank_imports"
os.environ.update({"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"})


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    # Before Python 3.13 the server has not this process's sys.path, and skips what it cannot find.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        forkserver.ensure_running()
    return context


def _become(arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
    """Run what `python` would with these arguments, told and heard as a process of its own."""
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    assert PRELOADED in sys.modules, "each rank would import all for itself"
    os.environ.clear()
    os.environ.update(environment)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).parent))
        runpy.run_path(arguments[0], run_name="__main__")


class Rank:
    """One rank, with the interface of `subprocess.Popen` as far as tests need it."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.process = _context().Process(
            target=_become, args=(arguments, dict(environment), log), daemon=True
        )
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code when it has ended."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self.process), timeout or 0.0)
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it by kill -9."""
        self.process.kill()
