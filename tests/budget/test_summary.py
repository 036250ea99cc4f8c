"""The ledger as a table, by whatever is asked."""

import pytest

from pipeline.budget.ledger import Ledger
from pipeline.budget.record import Kind, Record
from pipeline.budget.summary import Row, summary
from pipeline.job import State

CELLS = ("pretrain/m0-d8", "pretrain/m0-d16")


def record(kind, when, **more):
    fields = {"site": "here", "stage": "pretrain", "task": "pretrain/m0-d8-s1", "job_key": "a"}
    return Record(kind=kind, time=when, **(fields | more))


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path)


def test_there_is_one_row_per_site_and_stage(ledger):
    ledger.append(record(Kind.RESERVE, 1, node_hours=3))
    ledger.append(record(Kind.SUBMIT, 2, job_id="71"))
    ledger.append(record(Kind.RESERVE, 3, site="there", job_key="far", node_hours=7))
    ledger.append(record(Kind.RESERVE, 4, stage="pilot", task="pilot", job_key="p", node_hours=2))
    ended = record(Kind.END, 5, job_key="b", node_hours=1, state=State.FAILED, energy_joules=6e6)
    ledger.append(ended)
    assert summary(ledger) == [
        Row("here", "pretrain", 2, 3, 1, 6e6, {"submitted": 1, "failed": 1}),
        Row("here", "pilot", 1, 2, 0, None, {"reserved": 1}),
        Row("there", "pretrain", 1, 7, 0, None, {"reserved": 1}),
    ]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("cell", {"pretrain/m0-d8": 3, "pretrain/m0-d16": 3, "pilot": 5}),
        ("seed", {"seed 1": 2, "seed 2": 4, "pilot": 5}),
        (
            "task",
            {
                "pretrain/m0-d8-s1": 1,
                "pretrain/m0-d8-s2": 2,
                "pretrain/m0-d16-s1": 1,
                "pretrain/m0-d16-s2": 2,
                "pilot": 5,
            },
        ),
    ],
)
def test_cells_tasks_and_seeds_add_up(ledger, by, expected):
    for place, cell in enumerate(CELLS):
        for seed in (1, 2):
            more = {"task": f"{cell}-s{seed}", "job_key": f"{place}{seed}", "node_hours": seed}
            ledger.append(record(Kind.END, 1, **more))
    ledger.append(record(Kind.END, 2, stage="pilot", task="pilot", job_key="p", node_hours=5))
    assert {row.group: row.charged_node_hours for row in summary(ledger, by)} == expected
