"""The site's own balance, from prints as the sites' documentation shows them."""

import json
from dataclasses import replace
from datetime import date, datetime
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
        (
            "showusage",
            SHOWUSAGE.replace("abc123 ", "xyz ").replace("126.3", "a few"),
            "cannot be re",
        ),
        ("sbank", SBANK, r"no balance of project 'xyz' on polaris .*has: lattice"),
        ("sbank", "no such project", r"print of sbank cannot be read .*'no such project'"),
        ("sfapi", "{", r"print of sfapi cannot be read"),
        ("sfapi", "[1, {}]", r"no balance of project 'xyz' .* It says: '\[1, {}\]'"),
        ("sfapi", '[{"repo_name": "xyz"}]', r"cannot be read \('project_hours_given'\)"),
    ],
)
def test_what_holds_no_balance_is_told_with_what_it_holds(form, text, told):
    with pytest.raises(BalanceError, match=told):
        read_balance(form, text, "xyz", "polaris")


OTHER_ALLOCATION = SBANK.replace("34.2  ", "n/a   ").replace(
    "aurora    lattice ", "polaris   plasma  "
)


@pytest.mark.parametrize(
    ("form", "text", "project", "used"),
    [
        ("showusage", SHOWUSAGE.replace("126.3", "(overdue)"), "nph000", 1600.0),
        ("showusage", " Project | Grant | Usage | Left | Usage\n" + SHOWUSAGE, "nph000", 1600.0),
        ("sbank", OTHER_ALLOCATION, "plasma", 5000.0),
        ("sfapi", json.dumps([1, {"repo_name": "x1"}, *json.loads(SFAPI)]), "m4722", 1234.5),
    ],
    ids=["showusage", "titles in a row", "sbank", "sfapi"],
)
def test_what_is_said_of_another_project_breaks_nothing(form, text, project, used):
    assert read_balance(form, text, project, "polaris").used == used


def test_the_balance_of_allocations_counts_from_the_first_of_them():
    assert read_balance("sbank", SBANK, "lattice", "polaris").since == date(2025, 7, 1)


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


def moment(year, month, day, hour=0):
    return datetime(year, month, day, hour).timestamp()


def year_end():
    """A campaign over the end of a year: 40 node-hours before, 8 across midnight, 10 after."""
    night = {"start": moment(2025, 12, 31, 18), "end": moment(2026, 1, 1, 6)}
    day = {"start": moment(2026, 1, 10), "end": moment(2026, 1, 11)}
    found = [
        replace(charged("old", 40.0, None), start=moment(2025, 11, 30), end=moment(2025, 12, 1)),
        replace(charged("across", 8.0, None), **night),
        replace(charged("new", 10.0, None), **day),
    ]
    return {each.job_key: each for each in found}


def test_only_what_was_charged_since_the_balance_began_to_count_is_compared():
    now, begins = moment(2026, 2, 1), date(2020, 1, 1)
    told = drift(Balance("p", 1000, 14.0, 14.0), year_end(), "frontier", now, 24, begins)
    assert (told.settled, told.earlier, told.pending) == (10.0 + 4.0, 40.0 + 4.0, 0.0)
    assert told.missing == 0.0
    assert told.since == moment(2026, 1, 1)
    told = drift(Balance("p", 1000, 12.0, 12.0), year_end(), "frontier", now, 24, begins)
    assert told.missing == 2.0


def test_before_its_day_the_allocation_year_is_that_of_the_year_before():
    now = moment(2026, 1, 15)
    told = drift(Balance("p", 1000, 58.0, 58.0), year_end(), "frontier", now, 24, date(2026, 1, 22))
    assert told.since == moment(2025, 1, 22)
    assert (told.settled, told.earlier) == (58.0, 0.0)


def test_the_day_that_a_balance_names_counts_more_than_the_site_s():
    now = moment(2026, 2, 1)
    printed = Balance("p", 1000, 58.0, 58.0, since=date(2025, 7, 1))
    told = drift(printed, year_end(), "frontier", now, 24, date(2020, 1, 1))
    assert (told.since, told.settled) == (moment(2025, 7, 1), 58.0)


def test_without_an_allocation_year_all_is_compared():
    told = drift(Balance("p", 1000, 58.0), year_end(), "frontier", moment(2026, 2, 1), 24)
    assert (told.since, told.settled, told.earlier) == (None, 58.0, 0.0)
