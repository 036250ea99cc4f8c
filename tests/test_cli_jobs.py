"""cancel and logs, as a user meets them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from ledgers import without
from scheduler_fakes import FakeScheduler, pretraining, tiny_plan
from whole_campaign import TINY

import pipeline.scheduler
from pipeline.budget.record import Kind
from pipeline.chains import job_manager
from pipeline.chains.job_manager import JobManager
from pipeline.claims import Holder, claimed, detecting, holder
from pipeline.job import State
from pipeline.outcome import Exit
from pipeline.records import Product
from pipeline.run import Run


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> FakeScheduler:
    made = FakeScheduler(state=State.RUNNING, exit_code=None, end=None)
    made.polls = 1
    monkeypatch.setattr(pipeline.scheduler, "connect", lambda *_: made)
    return made


@pytest.fixture
def there(tmp_path: Path) -> tuple[object, ...]:
    return ("--site", "testbed", "--root", tmp_path)


@pytest.fixture
def job(tmp_path: Path, scheduler: FakeScheduler) -> str:
    """A pretraining that runs; its job's id."""
    manager = JobManager(tiny_plan(tmp_path, "testbed", project="m4722"), scheduler)
    manager.plan.run.identify()
    step = pretraining(manager.plan)
    return manager.submit(manager.plan.link(step, 1), stage="pretrain", task_key=step.task.key)


def answer(monkeypatch: pytest.MonkeyPatch, word: bool) -> None:
    monkeypatch.setattr(typer, "confirm", lambda _: word)


def test_cancel_says_what_it_would_end_and_asks(
    cosmotron: Any, monkeypatch: Any, scheduler: FakeScheduler, job: str, there: Any
) -> None:
    answer(monkeypatch, False)
    told = cosmotron("cancel", TINY, *there)
    assert "tiny on testbed: 1 running; 0.1667 node-hours reserved for them." in told.words
    assert "Nothing was cancelled." in told.words
    assert scheduler.cancelled == []
    answer(monkeypatch, True)
    told = cosmotron("cancel", TINY, *there)
    assert told.code == 0
    assert "Cancelled 1 job(s) of tiny on testbed." in told.words
    assert scheduler.cancelled == [job]


def test_cancel_leaves_another_s_job_with_the_same_id_alone(
    cosmotron: Any, monkeypatch: Any, scheduler: FakeScheduler, job: str, there: Any
) -> None:
    scheduler.jobs[job] = scheduler.jobs[job].model_copy(update={"key": "my-other-simulation"})
    monkeypatch.setattr(job_manager, "UNKNOWN_SECONDS", 0.0)
    told = cosmotron("cancel", TINY, *there, "--yes")
    assert "knows only another job with the id 700 (my-other-simulation), which is left" in (
        told.words
    )
    assert told.code == 0
    assert scheduler.cancelled == []


def test_cancel_finds_a_job_whose_submission_was_not_heard_of(
    cosmotron: Any, scheduler: FakeScheduler, job: str, there: Any, tmp_path: Path
) -> None:
    ledger = without(Run(tmp_path, "tiny").ledger, Kind.SUBMIT)
    told = cosmotron("cancel", TINY, *there, "--yes")
    assert "Cancelled 1 job(s)" in told.words
    assert scheduler.cancelled == [job]
    (found,) = (each for each in ledger.records() if each.kind is Kind.SUBMIT)
    assert found.note == "found again"


def test_cancel_ends_what_a_link_submits_meanwhile(
    cosmotron: Any, scheduler: FakeScheduler, job: str, there: Any, tmp_path: Path
) -> None:
    manager = JobManager(tiny_plan(tmp_path, "testbed", project="m4722"), scheduler)
    step = pretraining(manager.plan)

    def submits_the_next(_: str) -> None:
        scheduler.at_end = str
        manager.submit(manager.plan.link(step, 2), stage="pretrain", task_key=step.task.key)

    scheduler.at_end = submits_the_next
    told = cosmotron("cancel", TINY, *there, "--yes")
    assert "Cancelled 2 job(s)" in told.words
    assert manager.unended() == []


def test_cancel_lets_the_controller_go_first(
    cosmotron: Any, scheduler: FakeScheduler, job: str, there: Any, tmp_path: Path
) -> None:
    program = (
        "import signal, sys, time; from pathlib import Path; from pipeline.claims import claimed\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "try:\n with claimed(Path(sys.argv[1])): time.sleep(60)\n"
        "except KeyboardInterrupt: sys.exit(130)"
    )
    claim = Run(tmp_path, "tiny").claim
    with subprocess.Popen([sys.executable, "-c", program, str(claim)]) as controller:
        deadline = time.monotonic() + 30
        while holder(claim) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        told = cosmotron("cancel", TINY, *there, "--yes")
        assert controller.wait(30) in (130, -signal.SIGINT)
    assert "Cancelled 1 job(s)" in told.words


def test_cancel_does_not_race_a_controller_elsewhere(
    cosmotron: Any,
    monkeypatch: Any,
    scheduler: FakeScheduler,
    job: str,
    there: Any,
    tmp_path: Path,
) -> None:
    elsewhere = Holder("login07", 4242, 1)
    monkeypatch.setattr(Holder, "of", lambda _: elsewhere)
    monkeypatch.setenv(detecting.VARIABLE, "0.4")
    with claimed(Run(tmp_path, "tiny").claim):
        told = cosmotron("cancel", TINY, *there, "--yes")
    assert "process 4242 on login07 has the claim controller" in told.words
    assert told.code == Exit.BUSY
    assert "process 4242 on login07, would submit again. End it with: ssh login07 kill 4242" in (
        told.words
    )
    assert scheduler.cancelled == []


TASK = "pretrain/m-d24-s1"


def write_log(tmp_path: Path, name: str, text: str, *, age_seconds: float = 0.0) -> Path:
    path = Run(tmp_path, "tiny").task(TASK).logs / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    when = time.time() - age_seconds
    os.utime(path, (when, when))
    return path


def test_logs_prints_the_end_of_the_newest(cosmotron: Any, there: Any, tmp_path: Path) -> None:
    write_log(tmp_path, "tiny.pretrain.1-ab.log", "first link\n", age_seconds=60)
    newest = write_log(tmp_path, "tiny.pretrain.2-ab.log", "one\ntwo\nthree\n")
    told = cosmotron("logs", TINY, TASK, *there, "-n", "2")
    assert told.out == f"==> {newest} <==\ntwo\nthree\n"
    told = cosmotron("logs", TINY, TASK, *there, "--list")
    assert [Path(line).name for line in told.out.split()] == [
        "tiny.pretrain.1-ab.log",
        "tiny.pretrain.2-ab.log",
    ]


def test_logs_follows_until_the_task_is_over(cosmotron: Any, there: Any, tmp_path: Path) -> None:
    write_log(tmp_path, "tiny.pretrain.1-ab.log", "one\ntwo\n")
    Run(tmp_path, "tiny").task(TASK).finish(Product())
    told = cosmotron("logs", TINY, TASK, *there, "--follow", "-n", "1")
    assert told.out.endswith("<==\ntwo\n")


def test_logs_of_a_training_have_its_steps(cosmotron: Any, there: Any, tmp_path: Path) -> None:
    folder = Run(tmp_path, "tiny").task(TASK)
    folder.path.mkdir(parents=True)
    line = {"seconds": 0.1, "data_seconds": 0.0, "lr": 1e-3, "events_per_second": 40.0}
    steps = [line | {"step": n, "events_seen": 4 * n, "loss": 1 / n} for n in range(1, 5)]
    folder.metrics.write_text("".join(json.dumps(each) + "\n" for each in steps))
    told = cosmotron("logs", TINY, TASK, *there, "-n", "2")
    assert told.out.splitlines() == [
        f"==> {folder.metrics} <==",
        "step       3          12 events  loss 0.3333  rate 0.001  events/s 40",
        "step       4          16 events  loss 0.25  rate 0.001  events/s 40",
    ]
    log = write_log(tmp_path, "tiny.pretrain.1-ab.log", "warning\n")
    told = cosmotron("logs", TINY, TASK, *there, "-n", "1")
    assert told.out.startswith(f"==> {log} <==\nwarning\n==> {folder.metrics} <==\nstep       4")
    folder.finish(Product())
    followed = cosmotron("logs", TINY, TASK, *there, "--follow", "-n", "3").out
    assert followed.startswith(f"==> {log} <==\nwarning\nstep       2")
    assert followed.count("step") == 3


def test_logs_that_are_not_there_yet(cosmotron: Any, there: Any) -> None:
    told = cosmotron("logs", TINY, TASK, *there)
    assert told.code == Exit.BUSY
    assert "no log yet. See: cosmotron status" in told.words


def test_logs_of_an_unknown_task(cosmotron: Any, there: Any) -> None:
    told = cosmotron("logs", TINY, "pretrain/x", *there)
    assert told.code == Exit.USAGE
    assert "no task 'pretrain/x'. There are: simulate/collisions" in told.words


@pytest.mark.slow
def test_a_controller_that_a_script_started_behind_its_back_can_be_asked_to_go(
    tmp_path: Path,
) -> None:
    """A shell without job control has what it starts with & ignore the interrupt."""
    words = ["run", str(TINY), "--site", "local", "--root", str(tmp_path), "--yes"]
    command = ["sh", "-c", f"trap '' INT; exec {sys.executable} -m pipeline {' '.join(words)}"]
    claim = Run(tmp_path, "tiny").claim
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as controller:
        deadline = time.monotonic() + 60
        while holder(claim) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        controller.send_signal(signal.SIGINT)
        assert controller.stderr is not None
        assert "the same command resumes from here" in controller.stderr.read()
        assert controller.wait(60) == 130
