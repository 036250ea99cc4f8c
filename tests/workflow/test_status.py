"""How far a campaign is, from disk alone."""

import io

import pytest
from desk_fakes import tiny_plan
from rich.console import Console

from pipeline.run import write_json
from pipeline.workflow.display import Display, table
from pipeline.workflow.status import Progress, all_progress, progress


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
        ("pretrain", {"loss": 0.12345, "events": 24}, "24 events, loss 0.1235"),
        ("evaluate", {"ari": 0.9465, "events": 8}, "8 events, ARI 0.947"),
        ("stage", {"events": {"train": 1000, "test": 500}}, "1,500 events"),
        (
            "simulate",
            {"events": 24, "mean_points": 100.2, "mean_tracks": 5.55},
            "24 events, 100 points, 5.5 tracks an event",
        ),
        ("evaluate", {"ari": None}, ""),
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
    states = ("done", "running", "failed", "waiting")
    console = Console(file=io.StringIO(), width=120)
    console.print(table([Progress(f"a/{s}", s, 1000, 2000, "events", "[x]") for s in states]))
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 4
    assert all("1,000/2,000 events" in line and "[x]" in line for line in lines)
