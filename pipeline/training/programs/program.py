"""What the training programs share: one task folder, one claim, signals, and a recorded end."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch

from pipeline import claims, records
from pipeline.campaign import stored, too_big
from pipeline.catalog import Declaration
from pipeline.data import custom_code
from pipeline.job import is_after
from pipeline.masking import print_traceback
from pipeline.outcome import (
    OUTCOMES,
    BusyError,
    Exit,
    Failure,
    RunError,
    SupersededError,
    classify,
)
from pipeline.records import Ending
from pipeline.run import TaskFolder
from pipeline.training.engine import devices
from pipeline.training.engine.engine import World, multiply_in
from pipeline.training.link.here import this_link
from pipeline.training.link.stopping import Stop
from pipeline.training.link.throttle import Throttle
from pipeline.training.link.watchdog import Watchdog

__all__ = ["Stop", "Throttle", "leave", "start"]

AnyTask = TypeVar("AnyTask", bound=Declaration)


def start(
    work: Callable[[AnyTask, TaskFolder, World, Stop], Exit],
    model: type[AnyTask],
    argv: Sequence[str] | None = None,
) -> int:
    """Do `work` on the task folder named on the command line; return the exit code.

    `result.json` records every end. A task that is done already, or that another process works on,
    stays as it is.
    """
    parser = argparse.ArgumentParser(description=work.__doc__)
    parser.add_argument("folder", help="the task's folder, which holds task.toml")
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="trace N steps")
    options = parser.parse_args(argv)
    folder = TaskFolder(Path(options.folder))
    if folder.is_done:
        return Exit.FINISHED
    world = World()
    world.profile_steps = options.profile
    stop = Stop(folder, polls=world.is_first)
    if stop.has_file:
        print(f"{folder.path}: a file STOP is there; nothing is done.", file=sys.stderr)
        return Exit.CONTINUE
    task = None
    try:
        devices.check(world.local_rank)
        multiply_in("fp32")  # a training may ask for less
        task = stored.read(folder, model)
        torch.set_num_threads(_threads(task))
        return _guarded(work, task, folder, world, stop)
    except Exception as error:  # noqa: BLE001 - classified and recorded
        return _failed(folder, error, task, world)


def _guarded(
    work: Callable[[AnyTask, TaskFolder, World, Stop], Exit],
    task: AnyTask,
    folder: TaskFolder,
    world: World,
    stop: Stop,
) -> Exit:
    """Do `work` under its watchdog; the first process holds the claim and handles the files."""
    seconds = getattr(getattr(task, "training", None), "hang_seconds", None)
    if seconds is not None:  # the collectives' own patience ends after ours, which says more
        os.environ.setdefault("DEEPSPEED_TIMEOUT", str(2 * seconds // 60 + 1))
    holding: AbstractContextManager[object] = nullcontext()
    if world.is_first:
        key = this_link().key
        holding = claims.claimed(folder.claim, work=key, is_over=partial(is_after, key))
    with holding:
        if world.is_first:  # an earlier link's failure is not this one's
            folder.result.unlink(missing_ok=True)
        with Watchdog(folder, world.rank, seconds) as stop.watch:
            code = work(task, folder, world, stop)
        if world.is_first:  # all is saved by now
            claims.confirm()
            folder.save_request.unlink(missing_ok=True)
    return code


def _threads(task: Declaration) -> int:
    """Return the CPU threads of the task; another number would change the order of sums."""
    settings: Any = getattr(task, "training", task)
    return int(settings.threads)


def _failed(folder: TaskFolder, error: Exception, task: Declaration | None, world: World) -> Exit:
    """Record the class of `error` in the task's folder and in the log; return its exit code.

    When one process fails, the others lose their connection to it. They do not know the cause, so
    they leave its record alone and end with its code: whichever process the scheduler reports, the
    code is that of the cause. Where another process works on the task, nothing is recorded.
    """
    if claims.are_taken_over():  # from the first process, and this one lost that
        error = SupersededError(f"{folder.path}: another process has taken over. It ends here.")
    failure = classify(error, processes=world.size, where=str(folder.path))
    if failure.outcome.echo:
        print_traceback(error)
    message = _with_advice(failure, task, world)
    if not failure.is_foreseen:
        message = custom_code.located(message, error)
    print(f"{folder.path}: {message}", file=sys.stderr)
    if isinstance(error, BusyError | SupersededError):
        return failure.code
    try:
        cause = records.read(folder.result, Ending) if failure.outcome.echo else None
        if cause is not None:
            return cause.row.exit_code
        folder.fail(failure.outcome.name, message)
    except (OSError, RunError) as second:
        print(f"{folder.result}: not written: {second}", file=sys.stderr)
    return failure.code


def _with_advice(failure: Failure, task: Declaration | None, world: World) -> str:
    """Return the message of `failure`; where memory ran out, with the model and what to lower."""
    if failure.outcome is not OUTCOMES["out_of_memory"] or task is None:
        return failure.message
    return f"{failure.message} {too_big(task, world.size)}".strip()


def leave(code: int) -> NoReturn:
    """End this process with `code`, whatever its threads do.

    During Python's finalisation a thread of gloo that still releases a tensor asks for the
    interpreter's lock, and the process aborts after all its work is done
    (https://github.com/pytorch/pytorch/pull/179291). So there is no finalisation.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
