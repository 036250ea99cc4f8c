"""What the training programs share: one task folder, one claim, signals, and an honest end."""

import argparse
import errno
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

import torch

from pipeline import catalog
from pipeline.catalog import Declaration, DeclarationError
from pipeline.data.errors import BadInput
from pipeline.run import BusyError, Exit, RunError, TaskFolder, claimed
from pipeline.training.engine import World

# What ended a program, by the kind of its error: outcome and exit code.
CLASSES: tuple[tuple[tuple[type[Exception], ...], str, Exit], ...] = (
    ((BadInput, DeclarationError), "bad_input", Exit.BAD_INPUT),
    ((FloatingPointError,), "not_a_number", Exit.NOT_A_NUMBER),
    ((RunError,), "damaged", Exit.BUSY),
    ((torch.OutOfMemoryError, MemoryError), "out_of_memory", Exit.FAILED),
)

AnyTask = TypeVar("AnyTask", bound=Declaration)


class Stop:
    """A flag that USR1 (walltime near) and TERM (preemption) set; the loop asks at each step."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.asked = True


def start(
    work: Callable[[AnyTask, TaskFolder, World, Stop], Exit],
    model: type[AnyTask],
    argv: Sequence[str] | None = None,
) -> int:
    """Do `work` on the task folder named on the command line; return the exit code.

    However it ends, `result.json` says how; a task that is done already, or that another process
    is at work on, is left as it is.
    """
    parser = argparse.ArgumentParser(description=work.__doc__)
    parser.add_argument("folder", help="the task's folder, which holds task.toml")
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="trace N steps")
    asked = parser.parse_args(argv)
    folder = TaskFolder(Path(asked.folder))
    if folder.is_done:
        return Exit.FINISHED
    stop, world = Stop(), World()
    world.profile_steps = asked.profile
    try:
        task = catalog.read(folder.declaration, model)
        torch.set_num_threads(_threads(task))
        holding: AbstractContextManager[None] = nullcontext()
        if world.is_first:
            holding = claimed(folder.claim)
        with holding:
            if world.is_first:  # how an earlier link failed says nothing of this one
                folder.result.unlink(missing_ok=True)
            return work(task, folder, world, stop)
    except Exception as error:  # noqa: BLE001 - classified, recorded and told below
        return _told(folder, error)


def _threads(task: Declaration) -> int:
    """Return the CPU threads the task asks for; more would change the order of sums."""
    asks: Any = getattr(task, "training", task)
    return int(asks.threads)


def _told(folder: TaskFolder, error: Exception) -> Exit:
    """Record the class of `error` in the task's folder and on the screen; return its exit code."""
    outcome, code, message = _classified(error)
    if code == Exit.FAILED:
        traceback.print_exception(error)
    print(f"{folder.path}: {message}", file=sys.stderr)  # noqa: T201
    # When one process fails, the others lose their connection: the cause is not theirs to say.
    if isinstance(error, BusyError) or (outcome == "error" and folder.result.exists()):
        return code
    try:
        folder.fail(outcome, message)
    except OSError as second:
        print(f"{folder.result}: not written: {second}", file=sys.stderr)  # noqa: T201
    return code


def _classified(error: Exception) -> tuple[str, Exit, str]:
    """Return outcome, exit code and message of what went wrong."""
    for kinds, outcome, code in CLASSES:
        if isinstance(error, kinds):
            return outcome, code, str(error)
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, OSError) and number in (errno.ENOSPC, errno.EDQUOT):
        message = f"No space left for {error.filename}. Free some, then run again: it resumes."
        return "disk_full", Exit.CANNOT_WRITE, message
    if isinstance(error, OSError) and number in (errno.EACCES, errno.EROFS):
        return "cannot_write", Exit.CANNOT_WRITE, f"No permission to write {error.filename}."
    return "error", Exit.FAILED, f"{type(error).__name__}: {error}"


def leave(code: int) -> NoReturn:
    """End this process with `code`, whatever its threads are at.

    While Python takes itself apart, a thread of gloo that still lets go of a tensor asks for the
    interpreter's lock, and the process aborts after all its work is done
    (https://github.com/pytorch/pytorch/pull/179291). So it is not taken apart.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Every:
    """Says yes at most once in `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.last = seconds, -seconds

    def __call__(self) -> bool:
        """Whether it is time again."""
        now = time.monotonic()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True


def job_id() -> str:
    """Return the batch job this process runs in, empty without a scheduler."""
    return os.environ.get("SLURM_JOB_ID", "")
