"""Node-hours against time, and what was expected of them."""

import numpy as np
import pytest

from pipeline.budget.account import Account
from pipeline.budget.forecast import Forecast, Interval, keep, kept
from pipeline.budget.spending import spent
from pipeline.outcome import RunError
from pipeline.run import Run
from pipeline.writing import write_json, write_text

FORECAST = Forecast("frontier", 1e9, 10.0, Interval(90.0, 100.0, 120.0), Interval(1.0, 2.0, 4.0))


def account(node_hours, start, end):
    fields = {"site": "frontier", "stage": "pretrain", "task": "t", "job_key": "k", "job_id": "1"}
    hours = {"reserved_node_hours": 0.0, "charged_node_hours": node_hours}
    times = {"seconds": 60, "start": start, "end": end}
    return Account(nodes=1.0, state="completed", **fields, **hours, **times)


def test_a_job_is_charged_evenly_while_it_runs():
    accounts = [account(10, 100.0, 300.0), account(4, 200.0, 250.0), account(0, 100.0, None)]
    moments = np.array([0.0, 100, 200, 225, 300, 900])
    assert spent(accounts, moments) == pytest.approx([0, 0, 5, 5 + 1.25 + 2, 14, 14])


def test_the_newest_outlook_is_kept(tmp_path):
    run = Run(tmp_path, "m")
    assert kept(run) is None
    keep(FORECAST, run)
    assert kept(run) == FORECAST


@pytest.mark.parametrize("damage", ["{", "[]", '{"site": "here"}'])
def test_a_damaged_outlook_names_its_file(tmp_path, damage):
    run = Run(tmp_path, "m")
    write_text(run.forecast, damage)
    with pytest.raises(RunError, match=r"forecast\.json"):
        kept(run)


def test_one_of_something_else_is_none(tmp_path):
    run = Run(tmp_path, "m")
    write_json(run.forecast, {"now": 3})
    with pytest.raises(RunError, match=r"no forecast\. Move it away, and make one"):
        kept(run)
