"""Each error has one class and one exit code, whoever meets it, and leaves a result.json."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import cli
from pipeline.catalog import Declaration, DeclarationError
from pipeline.chains.retry import LinkEnd, outcome_of, reason_to_end
from pipeline.chains.watch import TaskError
from pipeline.data import program as data_programs
from pipeline.data.errors import BadInput
from pipeline.job import JobStatus, State
from pipeline.outcome import (
    OUTCOMES,
    ROWS,
    BusyError,
    Exit,
    NoRoomError,
    Retry,
    RunError,
    classify,
    named,
    of_code,
    of_state,
)
from pipeline.run import TaskFolder
from pipeline.scheduler import NotNowError, SchedulerError
from pipeline.writing import read_json

PAGE = Path(__file__).parents[1] / "docs" / "troubleshooting.md"
BEGIN, END = "<!-- outcomes: generated from pipeline/outcome.py -->\n", "<!-- /outcomes -->"
GLOO = "[pair.cc:534] Connection closed by peer [127.0.0.1]:2950"


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


def system(number: int) -> OSError:
    """The error of a system call on a file."""
    return OSError(number, os.strerror(number), "disk/file")


# Every kind of error, the class that it has, and its exit code.
KINDS: dict[str, tuple[Callable[[], Exception], str, int]] = {
    "BadInput": (lambda: BadInput("no store here"), "bad_input", 65),
    "DeclarationError": (lambda: DeclarationError("no such key"), "usage", 2),
    "FloatingPointError": (lambda: FloatingPointError("The loss is nan"), "diverged", 86),
    "RunError": (lambda: RunError("no checkpoint verifies"), "unusable", 75),
    "BusyError": (lambda: BusyError("process 7 is at work here"), "busy", 75),
    "NoRoomError": (lambda: NoRoomError("needs 3 TB"), "disk_full", 73),
    "TaskError": (lambda: TaskError("hang, twice in a row", "hang"), "hang", 87),
    "SchedulerError": (lambda: SchedulerError("sbatch: error"), "scheduler", 1),
    "NotNowError": (lambda: NotNowError("queue full"), "scheduler", 1),
    "MemoryError": (MemoryError, "out_of_memory", 88),
    "bad_alloc": (lambda: RuntimeError("std::bad_alloc"), "out_of_memory", 88),
    "allocator": (
        lambda: RuntimeError("DefaultCPUAllocator: not enough memory: you tried"),
        "out_of_memory",
        88,
    ),
    "OutOfMemoryError": (lambda: OutOfMemoryError("CUDA: tried to"), "out_of_memory", 88),
    "KeyError": (lambda: KeyError("neighbours"), "error", 1),
    "RuntimeError": (lambda: RuntimeError("shapes do not match"), "error", 1),
    "ENOSPC": (lambda: system(errno.ENOSPC), "disk_full", 73),
    "EDQUOT": (lambda: system(errno.EDQUOT), "disk_full", 73),
    "EACCES": (lambda: system(errno.EACCES), "cannot_write", 73),
    "EPERM": (lambda: system(errno.EPERM), "cannot_write", 73),
    "EROFS": (lambda: system(errno.EROFS), "cannot_write", 73),
    "EIO": (lambda: system(errno.EIO), "io_error", 74),
    "ESTALE": (lambda: system(errno.ESTALE), "io_error", 74),
    "ESHUTDOWN": (lambda: system(errno.ESHUTDOWN), "io_error", 74),  # Lustre, after an eviction
    "ETIMEDOUT": (lambda: system(errno.ETIMEDOUT), "io_error", 74),
    "ENOMEM": (lambda: system(errno.ENOMEM), "out_of_memory", 88),
    "ENOENT": (lambda: system(errno.ENOENT), "error", 1),
    "EMFILE": (lambda: system(errno.EMFILE), "error", 1),
}


class Plain(Declaration):
    """A task with nothing to do."""

    key: str = "stage/plain"
    threads: int = 1
    files: tuple[str, ...] = ("one",)


def task_folder(path: Path) -> TaskFolder:
    """A task's folder, declared."""
    folder = TaskFolder(path)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.declaration.write_text('key = "stage/plain"\n')
    return folder


def through_training(error: Exception, path: Path) -> int:
    """The exit code of a training program whose work raises `error`."""
    pytest.importorskip("torch")
    from pipeline.training.programs import program

    def work(*_: Any) -> Exit:
        raise error

    handlers = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}
    try:
        return program.start(work, Plain, [str(task_folder(path).path)])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def through_data(error: Exception, path: Path) -> int:
    """The exit code of a data program one part of which raises `error`."""

    def part(*_: Any) -> None:
        raise error

    program: Any = data_programs.Program(
        "plain",
        Plain,  # type: ignore[type-var]
        part=part,
        is_done=lambda *_: False,
        finish=lambda *_: None,
    )
    return data_programs.run(program, [str(task_folder(path).path), "--part", "0"])


def through_command_line(error: Exception, path: Path) -> int:
    """The exit code of `cosmotron` when a verb raises `error`."""

    def verb() -> None:
        raise error

    with replaced(cli, "app", verb):
        return cli.main()


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute while the body runs."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


DOORS = {
    "training": through_training,
    "data": through_data,
    "command line": through_command_line,
}


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(kind=st.sampled_from(sorted(KINDS)), door=st.sampled_from(sorted(DOORS)))
def test_an_error_has_one_class_and_one_code_whoever_meets_it(
    kind: str,
    door: str,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made, outcome, code = KINDS[kind]
    path = tmp_path_factory.mktemp("task")
    assert classify(made()).outcome.name == outcome
    assert DOORS[door](made(), path) == code
    printed = capsys.readouterr().err
    assert ("Traceback" in printed) == (
        outcome == "error" and not (door == "command line" and kind.startswith("E"))
    )
    result = read_json(path / "result.json")
    if door == "command line":
        assert printed.count("error") >= 1
    elif kind == "BusyError":
        assert result is None, "the result is for the process at work to record"
    else:
        assert result is not None
        assert result["outcome"] == outcome
        assert result["message"]


@pytest.mark.parametrize("door", ["training", "data"])
def test_a_declaration_that_cannot_be_read_is_recorded(door: str, tmp_path: Path) -> None:
    folder = task_folder(tmp_path)
    folder.declaration.write_text('keys = "stage/plain"\n')
    body = folder.declaration.read_text()

    def declared(_: Path) -> TaskFolder:
        folder.declaration.write_text(body)
        return folder

    with replaced(sys.modules[__name__], "task_folder", declared):
        assert DOORS[door](KeyError("never raised"), tmp_path) == Exit.USAGE
    result = read_json(folder.result)
    assert result is not None
    assert result["outcome"] == "usage"
    assert "keys" in result["message"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_that_ends_a_process_is_a_kill(number: int, tmp_path: Path) -> None:
    script = f"import os; os.kill(os.getpid(), {int(number)})"
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False)
    code = 128 - ended.returncode  # as a shell, and so the batch script, reports it
    assert of_code(code).name == of_code(ended.returncode).name == "killed"
    status = JobStatus(id="7", key="k", state=State.FAILED, exit_code=code)
    assert outcome_of(status, "") == "killed"
    assert reason_to_end([LinkEnd("killed", progressed=True)]) == ""


def test_a_lost_process_is_one_only_where_there_are_others() -> None:
    for error in (RuntimeError(GLOO), RuntimeError("Broken pipe"), ConnectionResetError(104, "x")):
        assert classify(error).outcome.name == "error"
    assert classify(RuntimeError(GLOO), processes=2).code == Exit.PEER_LOST
    message = classify(RuntimeError(GLOO), processes=2).message
    assert message.startswith("Another process of this link ended without a record: killed")
    assert GLOO in message


def test_a_message_names_the_file_the_reason_and_what_to_do() -> None:
    message = classify(system(errno.ENOSPC)).message
    assert message.startswith("disk/file: No space left on device. Make room there")
    assert "--root" in message
    nameless = classify(OSError(errno.EIO, "Input/output error"), where="here").message
    assert nameless.startswith("here: Input/output error. ")
    assert classify(MemoryError("Unable to allocate\nmore")).message == (
        "Out of memory (Unable to allocate)."
    )


def test_names_codes_and_states_are_found_again() -> None:
    assert len(OUTCOMES) == len(ROWS)
    for row in ROWS:
        assert named(row.name) is row
        assert row.code is None or of_code(row.code).code == row.code
        assert not row.state or of_state(row.state) is row
        assert row.state in ("", *State)
        assert row.means
    assert {row.code for row in ROWS} >= set(Exit)
    assert named("of a later version") is OUTCOMES["error"]


def test_a_forgiven_end_is_one_after_which_the_chain_goes_on() -> None:
    for row in ROWS:
        if row.forgiven or row.elsewhere:
            assert row.retry is not Retry.NEVER


def table() -> str:
    """The table of outcomes for the docs."""
    lines = [
        "| outcome | exit code | meaning | the chain | what you do |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in ROWS:
        code = "" if row.code is None else str(int(row.code))
        code = "128 + signal" if row.name == "killed" else code
        lines.append(f"| `{row.name}` | {code} | {row.means} | {row.retry} | {row.advice} |")
    return "\n".join(lines) + "\n"


def test_the_docs_have_the_table() -> None:
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    expected = before + BEGIN + table() + END + after
    if os.environ.get("COSMOTRON_WRITE_GOLDEN"):
        PAGE.write_text(expected)
    assert text == expected, f"{PAGE}: the table is to be\n{table()}"


def test_a_copy_that_met_a_full_disk_names_what_could_not_be_written():
    error = OSError(
        errno.ENOSPC, "No space left on device", "/code/a.py", None, "/scratch/run/a.py"
    )
    failure = classify(error)
    assert failure.outcome.name == "disk_full"
    assert failure.message.startswith("/scratch/run/a.py: No space left on device.")
