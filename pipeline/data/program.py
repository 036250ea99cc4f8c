"""How the programs of this room run: their arguments, claims, and recorded outcomes."""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pipeline import claims, records
from pipeline.campaign import PredictTask, SimulateTask, StageTask, stored
from pipeline.campaign.tasks import Resolved
from pipeline.data import custom_code
from pipeline.data.errors import BadInput
from pipeline.data.ranks import run_ranks
from pipeline.masking import print_traceback
from pipeline.outcome import BusyError, Exit, SupersededError, classify
from pipeline.records import AnyRecord
from pipeline.run import TaskFolder

POLL_SECONDS = 0.2

WholeTask = TypeVar("WholeTask", bound=Resolved)
PartTask = TypeVar("PartTask", SimulateTask, StageTask, PredictTask)


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


def part_records(folder: TaskFolder, kind: type[AnyRecord], count: int) -> list[AnyRecord]:
    """Return the records of all `count` parts.

    Raises:
        BadInput: A part is not done; the message says what to run.
    """
    found = [records.read(part_record(folder, number), kind) for number in range(count)]
    missing = [number for number, record in enumerate(found) if record is None]
    if missing:
        message = (
            f"{folder.path}: {len(missing)} of {count} parts are not done, the first is part "
            f"{missing[0]}. Run again with --part {missing[0]}."
        )
        raise BadInput(message)
    return [record for record in found if record is not None]


def run(program: Program[PartTask], arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; return the exit code of the outcome, which is recorded."""
    options = _parser(program).parse_args(arguments)
    folder = TaskFolder(options.folder)
    try:
        task = stored.read(folder, program.task)
    except Exception as error:  # noqa: BLE001 - classified and recorded
        return _failed(folder, error)
    if options.mpi:
        return _ranks(program, folder, task)
    return _recorded(folder, lambda: _work(program, folder, task, options))


def run_whole(
    name: str,
    kind: type[WholeTask],
    work: Callable[[TaskFolder, WholeTask], None],
    arguments: Sequence[str] | None = None,
) -> int:
    """Do the whole of a task that has no parts; return the exit code of the outcome.

    Another process that does so is waited for.
    """
    parser = argparse.ArgumentParser(prog=f"python -m pipeline.data.{name}")
    parser.add_argument("folder", type=Path, help="the task's folder, which holds task.toml")
    folder = TaskFolder(parser.parse_args(arguments).folder)

    def do() -> None:
        """Do the work, unless another process has done it meanwhile."""
        task = stored.read(folder, kind)
        with in_turn(folder.parts / "whole.claim"):
            if not folder.is_done:
                work(folder, task)

    return _recorded(folder, do)


def _ranks(program: Program[PartTask], folder: TaskFolder, task: PartTask) -> int:
    """Do everything, as one of the ranks of an MPI job."""
    with contextlib.ExitStack() as stack:

        def begin() -> None:
            """Claim the folder until all parts are over, and begin."""
            stack.enter_context(claims.claimed(folder.claim))
            if program.begin is not None:
                program.begin(folder, task)

        return run_ranks(
            [program.weight(task, number) for number in range(len(task.files))],
            begin=lambda: _recorded(folder, begin),
            part=lambda number: _recorded(folder, lambda: _part(program, folder, task, number)),
            finish=lambda: _recorded(folder, lambda: program.finish(folder, task)),
        )


def _recorded(folder: TaskFolder, work: Callable[[], object]) -> int:
    """Do `work` and return the exit code; an error is reported and recorded."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 - classified and recorded
        return _failed(folder, error)
    return Exit.FINISHED


def _failed(folder: TaskFolder, error: Exception) -> int:
    """Report `error` on stderr, record its class in the task's result, and return its exit code.

    Where another process works on the task, the result is for that one to record.
    """
    failure = classify(error, where=str(folder.path))
    message = failure.message
    if not failure.is_foreseen:
        print_traceback(error)
        message = custom_code.located(message, error)
    print(message, file=sys.stderr)  # noqa: T201
    is_ours = not isinstance(error, BusyError | SupersededError) and claims.are_held()
    if is_ours and folder.path.is_dir():
        # The disk that refused the work may refuse this too; stderr has the message already.
        with contextlib.suppress(OSError):
            folder.fail(failure.outcome.name, message)
    return failure.code


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
        with in_turn(folder.parts / "finish.claim"):
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
    """Hold `claim` while the body runs; wait for a living process that holds it, and say so."""
    notified = False
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(claims.claimed(claim))
                break
            except BusyError as error:
                if not notified:
                    sys.stderr.write(f"Waiting: {error}\n")
                notified = True
                time.sleep(POLL_SECONDS)
        yield
