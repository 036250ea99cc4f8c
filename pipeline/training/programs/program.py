"""What the training programs share: one task folder, one claim, signals, and an honest end."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch

from pipeline import catalog
from pipeline.catalog import Declaration
from pipeline.run import CODES, BusyError, Exit, RunError, TaskFolder, claimed, read_json
from pipeline.training.engine.engine import World
from pipeline.training.link.ends import classified
from pipeline.training.link.stopping import Stop
from pipeline.training.link.throttle import Every
from pipeline.training.link.watchdog import Watchdog

__all__ = ["Every", "Stop", "leave", "start"]

# What a process says that has only lost another one, or does not know better.
ECHOES = ("error", "peer_lost")

AnyTask = TypeVar("AnyTask", bound=Declaration)


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
    world = World()
    world.profile_steps = asked.profile
    stop = Stop(folder, looks=world.is_first)
    if stop.is_ordered:
        print(f"{folder.path}: a file STOP is there; nothing is done.", file=sys.stderr)  # noqa: T201
        return Exit.CONTINUE
    task = None
    try:
        task = catalog.read(folder.declaration, model)
        torch.set_num_threads(_threads(task))
        return _worked(work, task, folder, world, stop)
    except Exception as error:  # noqa: BLE001 - classified, recorded and told below
        return _told(folder, error, task, world)


def _worked(
    work: Callable[[AnyTask, TaskFolder, World, Stop], Exit],
    task: AnyTask,
    folder: TaskFolder,
    world: World,
    stop: Stop,
) -> Exit:
    """Do `work` under its watchdog; the first process holds the claim and minds the files."""
    seconds = getattr(getattr(task, "training", None), "hang_seconds", None)
    if seconds is not None:  # the collectives' own patience ends after ours, which says more
        os.environ.setdefault("DEEPSPEED_TIMEOUT", str(2 * seconds // 60 + 1))
    holding: AbstractContextManager[None] = nullcontext()
    if world.is_first:
        holding = claimed(folder.claim)
    with holding:
        if world.is_first:  # how an earlier link failed says nothing of this one
            folder.result.unlink(missing_ok=True)
        with Watchdog(folder, world.rank, seconds) as stop.watch:
            code = work(task, folder, world, stop)
        if world.is_first:  # all is saved by now
            folder.save_request.unlink(missing_ok=True)
    return code


def _threads(task: Declaration) -> int:
    """Return the CPU threads the task asks for; more would change the order of sums."""
    asks: Any = getattr(task, "training", task)
    return int(asks.threads)


def _told(folder: TaskFolder, error: Exception, task: Declaration | None, world: World) -> Exit:
    """Record the class of `error` in the task's folder and on the screen; return its exit code.

    When one process fails, the others lose their connection to it: the cause is not theirs to say,
    and they end with its code, so that whichever the scheduler hears of is the cause's.
    """
    end = classified(error, task, world.size)
    if end.outcome in ECHOES:
        traceback.print_exception(error)
    print(f"{folder.path}: {end.message}", file=sys.stderr)  # noqa: T201
    if isinstance(error, BusyError):
        return end.code
    try:
        known = read_json(folder.result) if end.outcome in ECHOES else None
        if known is not None:
            return CODES.get(known["outcome"], end.code)
        folder.fail(end.outcome, end.message)
    except (OSError, RunError) as second:
        print(f"{folder.result}: not written: {second}", file=sys.stderr)  # noqa: T201
    return end.code


def leave(code: int) -> NoReturn:
    """End this process with `code`, whatever its threads are at.

    While Python takes itself apart, a thread of gloo that still lets go of a tensor asks for the
    interpreter's lock, and the process aborts after all its work is done
    (https://github.com/pytorch/pytorch/pull/179291). So it is not taken apart.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
