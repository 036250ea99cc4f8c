"""What node-hours went into, from the lives of links and the ledger."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.budget.account import Account
from pipeline.budget.use import uses
from pipeline.run import Run
from pipeline.writing import write_json

WORKERS = {"pilot": 2, "pack": 4}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, "c")


def job(key: str = "m.1", **changes: Any) -> Account:
    """A job of one node, an hour and a node-hour."""
    what: dict[str, Any] = {
        "site": "here",
        "stage": "pretrain",
        "task": "pretrain/m",
        "job_key": key,
        "job_id": "7",
        "nodes": 1.0,
        "reserved_node_hours": 0.0,
        "charged_node_hours": 1.0,
        "seconds": 3600,
        "start": 0.0,
        "end": 3600.0,
        "state": "completed",
    }
    return Account(**what | changes)


def link(run: Run, number: int = 1, key: str = "m.1", **changes: Any) -> None:
    """A link that started up for 100 s, took steps for 3000 s, 200 of which it saved, and ended."""
    what = {
        "number": number,
        "key": key,
        "began": 0.0,
        "first_step": 100.0,
        "last_step": 3100.0,
        "saving_seconds": 200.0,
        "ended": 3200.0,
        "outcome": "finished",
    }
    write_json(run.task("pretrain/m").links / f"{number:03d}.json", what | changes)


def hours(found: list[Any]) -> dict[str, float]:
    return {each.into: round(each.node_hours * 3600, 6) for each in found}


def test_a_link_that_ended_well_is_told_to_the_second(run: Run) -> None:
    link(run)
    assert hours(uses([job()], run, WORKERS)) == {
        "steps that count": 2800,
        "start-up and end": 100 + 100 + 400,  # 400 s of the script, before and after
        "checkpoints": 200,
    }


def test_what_a_killed_link_did_after_its_last_save_is_lost_to_its_cause(run: Run) -> None:
    link(run, ended=None, outcome="", last_step=1300.0)
    found = hours(uses([job(state="node_fail")], run, WORKERS))
    assert found["steps that count"] == 1000
    assert found["lost: node failure"] == 3600 - 100 - 1200
    assert sum(found.values()) == pytest.approx(3600)


def test_a_job_without_a_step_says_how_it_ended(run: Run) -> None:
    found = uses([job("m.2", state="cancelled", seconds=30, charged_node_hours=0.5)], run, WORKERS)
    assert [(each.into, each.node_hours, each.share) for each in found] == [
        ("without a step: cancellation", 0.5, 1.0)
    ]


def test_each_attempt_of_a_job_that_was_put_back_counts(run: Run) -> None:
    link(run, 1, ended=None, outcome="", last_step=600.0, saving_seconds=0.0)
    link(run, 2, began=1000.0, first_step=1100.0, last_step=3100.0, ended=3200.0)
    found = hours(uses([job()], run, WORKERS))
    assert found["steps that count"] == 500 + 2000 - 200
    assert found["lost: completed"] == 3600 - 600 - 2200


def test_who_is_done_before_its_bundle_waits_for_it(run: Run) -> None:
    link(run)
    found = hours(uses([job(batch_key="bundle.1")], run, WORKERS))
    assert found["waits for its bundle"] == 400


def test_a_discount_holds_for_all_that_it_paid(run: Run) -> None:
    link(run)
    (full, half) = (uses([job(charged_node_hours=price)], run, WORKERS) for price in (1.0, 0.5))
    assert [each.share for each in full] == [each.share for each in half]
    assert sum(each.node_hours for each in half) == pytest.approx(0.5)


def test_pilots_are_used_by_their_tasks_and_idle_for_the_rest(run: Run) -> None:
    """Two tasks of 1200 s, of two that fit on the node at a time, in a pilot of an hour."""
    pilot = job("pilot.1", stage="pilot", task="pilot")
    tasks = [
        job(
            f"s.{n}",
            stage="stage",
            job_id="",
            batch_key="pilot",
            charged_node_hours=0.0,
            seconds=1200,
        )
        for n in range(2)
    ]
    assert hours(uses([pilot, *tasks], run, WORKERS)) == {
        "tasks in pilots": 1200,
        "idle in pilots": 2400,
    }


def test_nothing_charged_went_into_nothing(run: Run) -> None:
    assert uses([], run, WORKERS) == []
    assert uses([job(charged_node_hours=0.0)], run, WORKERS) == []
