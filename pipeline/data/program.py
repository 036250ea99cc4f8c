"""How the programs of this room run: their arguments, claims, exit codes and error messages."""

import argparse
import contextlib
import errno
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pipeline import catalog
from pipeline.campaign import SimulateTask, StageTask
from pipeline.catalog import DeclarationError
from pipeline.data.errors import BadInput
from pipeline.data.ranks import run_ranks
from pipeline.run import (
    BusyError,
    Exit,
    NoRoomError,
    RunError,
    TaskFolder,
    claimed,
    holder,
    read_json,
)

POLL_SECONDS = 0.2
CANNOT_WRITE = {
    errno.ENOSPC: "Free some space there, or give the site another scratch, then run again.",
    errno.EDQUOT: "Free some of your quota there, or use another scratch, then run again.",
    errno.EACCES: "Get write permission there, or use another scratch, then run again.",
    errno.EPERM: "Get write permission there, or use another scratch, then run again.",
    errno.EROFS: "Use a scratch that is mounted for writing here, then run again.",
}

PartTask = TypeVar("PartTask", SimulateTask, StageTask)


@dataclass(frozen=True)
class Program(Generic[PartTask]):
    """A program that works on the parts of a task, each at most once, in any order."""

    name: str
    task: type[PartTask]
    part: Callable[[TaskFolder, PartTask, int], None]
    is_done: Callable[[TaskFolder, PartTask, int], bool]
    finish: Callable[[TaskFolder, PartTask], None]
    begin: Callable[[TaskFolder, PartTask], None] | None = None
    weight: Callable[[PartTask, int], int] = lambda task, number: 1  # noqa: ARG005


def part_record(folder: TaskFolder, number: int) -> Path:
    """Return the file that says that part `number` is done, with its numbers."""
    return folder.parts / f"{number:03d}.json"


def part_records(folder: TaskFolder, count: int) -> list[dict[str, Any]]:
    """Return the records of all `count` parts.

    Raises:
        BadInput: A part is not done; the message says what to run.
    """
    records = [read_json(part_record(folder, number)) for number in range(count)]
    missing = [number for number, record in enumerate(records) if record is None]
    if missing:
        message = (
            f"{folder.path}: {len(missing)} of {count} parts are not done, the first is part "
            f"{missing[0]}. Run again with --part {missing[0]}."
        )
        raise BadInput(message)
    return [record for record in records if record is not None]


def run(program: Program[PartTask], arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks and return the exit code; a failure is one line on stderr."""
    options = _parser(program).parse_args(arguments)
    folder = TaskFolder(options.folder)
    try:
        task = catalog.read(folder.declaration, program.task)
    except DeclarationError as error:
        return _failed(None, "usage", str(error), Exit.USAGE)
    if options.mpi:
        return _ranks(program, folder, task)
    return _told(folder, lambda: _work(program, folder, task, options))


def _ranks(program: Program[PartTask], folder: TaskFolder, task: PartTask) -> int:
    """Do everything, as one of the ranks of an MPI job."""
    with contextlib.ExitStack() as stack:

        def begin() -> None:
            stack.enter_context(claimed(folder.claim))
            if program.begin is not None:
                program.begin(folder, task)

        return run_ranks(
            [program.weight(task, number) for number in range(len(task.files))],
            begin=lambda: _told(folder, begin),
            part=lambda number: _told(folder, lambda: _part(program, folder, task, number)),
            finish=lambda: _told(folder, lambda: program.finish(folder, task)),
        )


def _told(folder: TaskFolder, work: Callable[[], object]) -> int:
    """Do `work` and return the exit code; what goes wrong is one line on stderr, and recorded."""
    try:
        work()
    except BadInput as error:
        return _failed(folder, "bad_input", str(error), Exit.BAD_INPUT)
    except BusyError as error:  # the result is for whoever works here to record
        return _failed(None, "busy", str(error), Exit.BUSY)
    except NoRoomError as error:
        return _failed(folder, "cannot_write", str(error), Exit.CANNOT_WRITE)
    except RunError as error:
        return _failed(folder, "failed", str(error), Exit.FAILED)
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        message = f"{error.filename or folder.path}: cannot write ({error.strerror}). "
        message += CANNOT_WRITE[error.errno]
        return _failed(folder, "cannot_write", message, Exit.CANNOT_WRITE)
    return Exit.FINISHED


def _parser(program: Program[PartTask]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m pipeline.data.{program.name}")
    parser.add_argument("folder", type=Path, help="the task's folder, which holds task.toml")
    step = parser.add_mutually_exclusive_group(required=True)
    if program.begin is not None:
        step.add_argument("--begin", action="store_true", help="what all parts need, once")
    step.add_argument("--part", type=int, help="the part to do, counted from 0")
    step.add_argument("--finish", action="store_true", help="check all parts; mark the task done")
    step.add_argument("--mpi", action="store_true", help="all of it, as a rank of an MPI job")
    return parser


def _work(
    program: Program[PartTask], folder: TaskFolder, task: PartTask, options: argparse.Namespace
) -> None:
    """Do the one step that `options` ask for."""
    if options.part is not None:
        _part(program, folder, task, options.part)
    elif options.finish:
        program.finish(folder, task)
    elif program.begin is not None:
        with in_turn(folder.parts / "begin.claim"):
            program.begin(folder, task)


def _part(program: Program[PartTask], folder: TaskFolder, task: PartTask, number: int) -> None:
    """Do part `number` unless it is done, or is being done: then wait.

    Raises:
        BadInput: There is no such part.
    """
    count = len(task.files)
    if not 0 <= number < count:
        message = f"{folder.path}: no part {number}; give --part 0 to {count - 1}."
        raise BadInput(message)
    with in_turn(part_record(folder, number).with_suffix(".claim")):
        if not program.is_done(folder, task, number):
            program.part(folder, task, number)


@contextlib.contextmanager
def in_turn(claim: Path) -> Iterator[None]:
    """Hold `claim` while the body runs; wait for a living process that holds it."""
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(claimed(claim))
                break
            except RunError:
                holder(claim)  # raises when the claim is damaged, which no waiting mends
                time.sleep(POLL_SECONDS)
        yield


def _failed(folder: TaskFolder | None, outcome: str, message: str, code: Exit) -> int:
    """Report a failure on stderr and, where there is a task, in its result; return `code`."""
    print(message, file=sys.stderr)  # noqa: T201
    if folder is not None:
        # The disk that refused the work may refuse this too; stderr has it already.
        with contextlib.suppress(OSError):
            folder.fail(outcome, message)
    return code
