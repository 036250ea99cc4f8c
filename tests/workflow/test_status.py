"""How far a campaign is, from disk alone."""

import io
import json
import math
import os

import pytest
from made_results import evaluated, simulated, staged
from rich.console import Console
from scheduler_fakes import tiny_plan

from pipeline import records
from pipeline.chains.progress import Progress, all_progress, over, progress
from pipeline.claims import claimed
from pipeline.records import LinkRecord, Trained
from pipeline.workflow.display import Display, note, table, trainings, watch
from pipeline.writing import write_json, write_text


@pytest.fixture
def plan(tmp_path):
    return tiny_plan(tmp_path)


def of_stage(plan, stage):
    return next(step.task for step in plan.steps if step.task.stage == stage)


def test_before_anything_ran_everything_waits(plan):
    rows = all_progress([step.task for step in plan.steps], plan.run)
    assert [row.key for row in rows] == [step.task.key for step in plan.steps]
    assert {row.state for row in rows} == {"waiting"}


def test_a_fan_out_counts_its_parts(plan):
    task = of_stage(plan, "simulate")
    write_json(plan.run.task(task.key).parts / "0.json", {})
    assert progress(task, plan.run) == Progress(task.key, "running", 1, 2, "files")


def test_a_training_tells_its_events(plan):
    task = of_stage(plan, "pretrain")
    told = {"done": 16, "total": 48, "unit": "events"}
    write_json(plan.run.task(task.key).progress, told)
    assert progress(task, plan.run) == Progress(task.key, "running", 16, 48, "events")


def test_what_has_logs_and_told_nothing_yet_runs(plan):
    task = of_stage(plan, "pretrain")
    plan.run.task(task.key).logs.mkdir(parents=True)
    assert progress(task, plan.run).state == "running"


def queued(plan, stage="pretrain", number=1):
    """A training whose batch script was written and whose job waits; its folder and its log."""
    step = next(step for step in plan.steps if step.task.stage == stage)
    folder = plan.run.task(step.task.key)
    job = plan.link(step, number)
    write_text(job.script, "")
    return step.task, folder, job


def test_a_submitted_training_is_queued_until_its_job_begins(plan):
    task, folder, job = queued(plan)
    assert progress(task, plan.run).state == "queued"
    job.log.touch()  # a machine without a scheduler opens the log before there is a device
    assert progress(task, plan.run).state == "queued"
    with claimed(folder.claim, work="the link before"):
        assert progress(task, plan.run).state == "queued"
    with claimed(folder.claim, work=job.key):
        assert progress(task, plan.run).state == "running"


def test_what_a_job_prints_shows_that_it_runs(plan):
    task, _, job = queued(plan)
    job.log.write_text("hello")
    assert progress(task, plan.run).state == "running"


def test_between_two_links_a_training_is_queued_and_keeps_its_pace(plan):
    task, folder, first = queued(plan)
    first.log.write_text("hello")
    write_link(folder, first.key)
    write_json(folder.progress, {"done": 16, "total": 48, "unit": "events"})
    assert progress(task, plan.run).state == "running"
    _, _, second = queued(plan, number=2)
    for path in folder.logs.glob(f"{second.key}*"):
        os.utime(path, (0, 0))  # by a clock that is behind
    found = progress(task, plan.run)
    assert (found.state, found.done, found.pace.links) == ("queued", 16, 1)
    write_link(folder, second.key, number=2)
    assert progress(task, plan.run).state == "running"


def write_link(folder, key, *, number=1):
    """The record of a link of 100 seconds, 40 of them no steps."""
    times = {"began": 0.0, "first_step": 30.0, "last_step": 90.0, "ended": 100.0}
    record = LinkRecord(number=number, key=key, **times)
    records.write(folder.links / f"{number:03d}.json", record)


def test_trainings_show_what_their_links_cost_and_their_pace(plan):
    task = of_stage(plan, "pretrain")
    folder = plan.run.task(task.key)
    write_link(folder, "k")
    numbers = {"loss": 0.25, "points": 500, "seconds": 0.5, "data_seconds": 0.05}
    lines = [json.dumps({"events_seen": 4 * step, **numbers}) for step in (1, 2, 3, 4)]
    folder.metrics.write_text("\n".join(lines) + "\n")
    write_json(folder.progress, {"done": 16, "total": 48, "unit": "events"})
    rows = all_progress([step.task for step in plan.steps], plan.run)
    console = Console(file=io.StringIO(), width=160)
    console.print(trainings(rows))
    shown = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert shown[0].split("  ")[0] == "training"
    numbers = ("1", "40.0", "s", "40.0%", "10.0%", "1,000", "0.25", "0:00:04")
    assert shown[1].split() == [task.key, *numbers]
    running = next(row for row in rows if row.key == task.key)
    assert note(running) == "loss 0.25, 1,000 points/s, eta 0:00:04"


def test_without_a_training_that_took_a_step_there_is_nothing_to_show():
    assert trainings([Progress("a/b", "waiting")]) is None


def test_it_is_over_when_the_rest_is_done_failed_or_needs_what_failed(plan):
    tasks = [step.task for step in plan.steps]
    states = {task.key: "done" for task in tasks}

    def is_over():
        return over(tasks, [Progress(key, state) for key, state in states.items()])

    assert is_over()
    pretrain = of_stage(plan, "pretrain").key
    for task in tasks:
        if task.stage in ("finetune", "evaluate"):
            states[task.key] = "waiting"
    assert not is_over()
    states[pretrain] = "failed"
    assert not is_over(), "what is trained from scratch needs no pretraining"
    states |= {key: "done" for key in states if "scratch" in key}
    assert is_over()


def test_who_watches_sees_each_step_of_what_runs_until_it_is_over():
    stream = io.StringIO()
    turns = iter(["running", "running", "done", "done"])
    rows = []

    def look():
        state = next(turns, "done")
        rows[:] = [Progress("a/b", state, len(rows) + 1, 4, "events")]
        return list(rows)

    watch(Console(file=stream, width=120), look, lambda rows: rows[0].state == "done", 0.001)
    assert [line.split()[1:3] for line in stream.getvalue().splitlines()] == [
        ["running", "a/b"],
        ["done", "a/b"],
    ]


def test_progress_that_cannot_be_read_does_not_stop_the_rest(plan):
    task = of_stage(plan, "pretrain")
    folder = plan.run.task(task.key)
    folder.path.mkdir(parents=True)
    folder.progress.write_text('{"done": 1')
    assert progress(task, plan.run).state == "waiting"


def test_a_failed_task_says_why(plan):
    task = of_stage(plan, "pretrain")
    plan.run.task(task.key).fail("bad_input", "No store here.")
    found = progress(task, plan.run)
    assert (found.state, found.note) == ("failed", "No store here.")


@pytest.mark.parametrize(
    ("stage", "result", "note"),
    [
        ("pretrain", Trained(loss=0.12345, events=24), "24 events, loss 0.1235"),
        ("evaluate", evaluated({"ari": 0.9465}, events=8), "8 events, ari 0.947"),
        ("stage", staged(events={"train": 1000, "test": 500}), "1,500 events"),
        (
            "simulate",
            simulated(means={"points": 100.2, "tracks": 5.55}),
            "24 events, 100 points, 5.5 tracks an event",
        ),
        ("evaluate", evaluated({"ari": math.nan}, events=8), "8 events"),
    ],
)
def test_a_finished_task_says_what_matters_most(plan, stage, result, note):
    task = of_stage(plan, stage)
    plan.run.task(task.key).finish(result)
    found = progress(task, plan.run)
    assert (found.state, found.note) == ("done", note)
    assert found.done == found.total


def shown(rows_in_turn, *, is_terminal=False):
    """What a display prints while the rows change."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=is_terminal, width=120)
    looks = iter([*rows_in_turn, rows_in_turn[-1]])
    with Display(console, lambda: next(looks)) as display:
        for _ in rows_in_turn:
            display.update()
    return stream.getvalue()


def test_without_a_terminal_each_change_is_one_line():
    waiting, running = Progress("a/b", "waiting"), Progress("a/b", "running", 1, 2, "files")
    further, done = Progress("a/b", "running", 2, 2, "files"), Progress("a/b", "done", note="ARI 1")
    lines = shown([[waiting], [running], [further], [done], [done]]).splitlines()
    assert [line.split()[1:] for line in lines] == [
        ["running", "a/b"],
        ["done", "a/b", "ARI", "1"],
    ]


def test_the_last_state_is_told_even_if_nobody_asked_for_an_update():
    stream = io.StringIO()
    console = Console(file=stream, width=120)
    with Display(console, lambda: [Progress("a/b", "done")]):
        pass
    assert "done     a/b" in stream.getvalue()


@pytest.mark.parametrize(
    "note", ["events [7, 9]", "[red]", "RuntimeError: [/src/gloo/pair.cc:553]"]
)
def test_a_note_with_brackets_is_shown_as_it_is(note):
    failed = Progress("a/b", "failed", note=note)
    assert note in shown([[failed]])
    assert note in shown([[failed]], is_terminal=True)


def test_with_a_terminal_the_table_is_live():
    rows = [Progress("a/b", "running", 1, 2, "files")]
    stream = io.StringIO()
    with Display(Console(file=stream, force_terminal=True, width=120), lambda: rows):
        pass
    assert "1/2 files" in stream.getvalue()


def test_every_state_has_a_row():
    states = ("done", "running", "queued", "failed", "waiting")
    console = Console(file=io.StringIO(), width=120)
    console.print(table([Progress(f"a/{s}", s, 1000, 2000, "events", "[x]") for s in states]))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 5
    assert all("1,000/2,000 events" in line and "[x]" in line for line in lines)
