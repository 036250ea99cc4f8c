"""The site's own balance, from prints as the sites' documentation shows them."""

import json
from pathlib import Path

import pytest

from pipeline.budget.account import Account
from pipeline.budget.balance import Balance, BalanceError, drift, read_balance

# Laid out as docs.olcf.ornl.gov, "Viewing Usage", shows it.
SHOWUSAGE = """
  Usage:
                           Project Totals
  Project             Allocation      Usage      Remaining     Usage
  _________________|______________|___________|____________|______________
  abc123           |  20000       |   126.3   |  19873.7   |   60.80
  nph000           |  1,500.0     |  1600.0   |  -100.0    |   0.00
"""
# Laid out as docs.lcrc.anl.gov, "sbank Example Commands", shows it: allocations in several parts.
SBANK = Path(__file__).with_name("sbank.txt").read_text()
# With the keys of api.nersc.gov's ProjectStats.
SFAPI = json.dumps(
    [
        {
            "repo_name": "m4722",
            "hours_given": 9.0,
            "hours_used": 9.0,
            "project_hours_given": 9.0,
            "project_hours_used": 9.0,
            "gpu_hours_given": 500.0,
            "gpu_hours_used": 123.5,
            "gpu_project_hours_given": 60000.0,
            "gpu_project_hours_used": 1234.5,
        }
    ]
)


@pytest.mark.parametrize(
    ("form", "text", "project", "expected"),
    [
        ("showusage", SHOWUSAGE, "abc123", Balance("abc123", 20000, 126.3, 60.8)),
        ("showusage", SHOWUSAGE, "nph000", Balance("nph000", 1500, 1600, 0)),
        ("sbank", SBANK, "lattice", Balance("lattice", 34.2 + 684.7, 34.2)),
        ("sfapi", SFAPI, "m4722", Balance("m4722", 60000, 1234.5, 123.5)),
        ("sfapi", SFAPI.replace("gpu_", "other_"), "m4722", Balance("m4722", 9, 9, 9)),
    ],
)
def test_a_balance_is_read_as_the_site_prints_it(form, text, project, expected):
    found = read_balance(form, text, project, "polaris")
    assert found.granted == pytest.approx(expected.granted)
    assert (found.project, found.used, found.mine) == (
        expected.project,
        expected.used,
        expected.mine,
    )


def test_an_overdrawn_project_has_less_than_nothing_left():
    assert read_balance("showusage", SHOWUSAGE, "nph000", "frontier").left == -100


@pytest.mark.parametrize(
    ("form", "text", "told"),
    [
        ("showusage", SHOWUSAGE, r"no balance of project 'xyz' on polaris .*has: abc123, nph000"),
        ("showusage", "command not found", r"It says: 'command not found'"),
        ("showusage", "", r"It says: nothing"),
        ("showusage", SHOWUSAGE.replace("126.3", "a few"), r"cannot be read \(could not convert"),
        ("sbank", SBANK, r"no balance of project 'xyz' on polaris .*has: lattice"),
        ("sbank", "no such project", r"print of sbank cannot be read .*'no such project'"),
        ("sfapi", "{", r"print of sfapi cannot be read"),
        ("sfapi", "[1]", r"print of sfapi cannot be read"),
        ("sfapi", "[{}]", r"print of sfapi cannot be read \('project_hours_given'\)"),
    ],
)
def test_what_holds_no_balance_is_told_with_what_it_holds(form, text, told):
    with pytest.raises(BalanceError, match=told):
        read_balance(form, text, "xyz", "polaris")


def charged(key, node_hours, end, site="frontier"):
    fields = {"stage": "pretrain", "task": key, "job_key": key, "job_id": key, "nodes": 1.0}
    zeros = {"reserved_node_hours": 0.0, "seconds": 0, "start": 0.0, "state": "completed"}
    return Account(site=site, charged_node_hours=node_hours, end=end, **fields, **zeros)


@pytest.fixture
def accounts():
    now = 100 * 3600.0
    found = [
        charged("old", 40.0, now - 30 * 3600),
        charged("young", 10.0, now - 3600),
        charged("elsewhere", 99.0, now - 30 * 3600, site="polaris"),
    ]
    return now, {each.job_key: each for each in found}


def test_a_site_that_lags_a_day_raises_no_alarm(accounts):
    now, known = accounts
    told = drift(Balance("p", 1000, 40.0, 40.0), known, "frontier", now, lag_hours=24)
    assert (told.settled, told.pending, told.missing) == (40.0, 10.0, 0.0)


def test_what_the_site_should_know_by_now_and_does_not_is_drift(accounts):
    now, known = accounts
    assert drift(Balance("p", 1000, 900.0, 35.0), known, "frontier", now, 24).missing == 5.0
    assert drift(Balance("p", 1000, 35.0), known, "frontier", now, 24).missing == 5.0
    assert drift(Balance("p", 1000, 900.0), known, "frontier", now, 24).missing == 0.0


def test_that_sites_round_is_no_drift(accounts):
    now, known = accounts
    assert drift(Balance("p", 1000, 39.9, 39.9), known, "frontier", now, 24).missing == 0.0
