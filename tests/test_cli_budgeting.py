"""`cosmotron budget`: the ledger, and the site's own balance beside it."""

import json
import time
from pathlib import Path

import pytest

from pipeline.budget.ledger import Ledger
from pipeline.budget.record import Kind, Record
from pipeline.campaign import to_toml
from pipeline.job import State
from pipeline.outcome import Exit
from pipeline.run import Run
from pipeline.site import load_site

TINY = str(Path(__file__).parent / "campaigns" / "tiny.toml")
SHOWUSAGE = """
  Project             Allocation      Usage      Remaining     Usage
  _________________|______________|___________|____________|______________
  nph000           |  20000       |   {used}     |  19873.7   |   {used}
"""


def spend(run, site="local", **more):
    """Put one finished job of half a node-hour into the ledger."""
    job = {"site": site, "stage": "pretrain", "task": "pretrain/m-d8-s1", "job_key": "k"}
    ledger = Ledger(run.ledger)
    ledger.append(Record(kind=Kind.RESERVE, **job, nodes=1, node_hours=2.0))
    end = {"seconds": 1800, "node_hours": 0.5, "state": State.COMPLETED}
    ledger.append(Record(kind=Kind.END, **job, nodes=1, **(end | more)))


@pytest.fixture
def budget(cosmotron, tmp_path):
    def run(*words, site="local"):
        return cosmotron("budget", TINY, "--site", site, "--root", tmp_path, *words)

    return run


def test_the_budget_is_from_the_ledger(budget, tmp_path):
    assert "No record yet. Start with: cosmotron run" in budget().words
    spend(Run(tmp_path, "tiny"))
    told = budget()
    assert "1 completed" in told.words
    assert "0.5 node-hours" in told.words
    assert "kWh" not in told.words
    told = json.loads(budget("--json").out)
    assert [(row["group"], row["charged_node_hours"]) for row in told["rows"]] == [
        ("pretrain", 0.5)
    ]
    assert [(use["into"], use["share"]) for use in told["uses"]] == [
        ("without a step: completed", 1.0)
    ]


def test_rows_are_what_was_asked_for(budget, tmp_path):
    spend(Run(tmp_path, "tiny"))
    assert "seed 1" in budget("--by", "seed").words
    assert "pretrain/m-d8 " in budget("--by", "cell").words


def test_energy_is_shown_where_the_site_measures_it(budget, tmp_path):
    spend(Run(tmp_path, "tiny"), energy_joules=7.2e6)
    told = budget()
    assert "kWh" in told.words
    assert "local pretrain 1 0 0.5 2 1 completed" in told.words


def test_a_damaged_ledger_is_one_message(budget, tmp_path):
    run = Run(tmp_path, "tiny")
    spend(run)
    next(run.ledger.glob("*.json")).write_text("{")
    told = budget()
    assert told.code == Exit.BUSY
    assert "not the record that was written here: its hash differs. Type: cosmotron budget" in (
        told.words
    )


def recently():
    """A moment of this year that every balance must include by now; skip the first days of one."""
    ended = time.time() - 3 * 86_400
    if time.localtime(ended).tm_year != time.localtime().tm_year:
        pytest.skip("the allocation year has only begun")
    return ended


def test_what_was_charged_in_an_earlier_allocation_year_is_told_and_no_drift(budget, tmp_path):
    spend(Run(tmp_path, "tiny"), "frontier", time=1e9)
    words = ("--balance", printed(tmp_path, 0.0), "--project", "nph000")
    told = budget(*words, site="frontier")
    assert told.code == 0
    year = time.localtime().tm_year
    assert f"0.5 more before the balance began to count, on {year}-01-01" in told.words


def test_what_the_site_s_command_warns_of_is_no_part_of_the_balance(budget, tmp_path):
    """NERSC's JSON, and a warning about a certificate between its lines."""
    numbers = {"gpu_project_hours_given": 90, "gpu_project_hours_used": 10, "gpu_hours_used": 1}
    content = json.dumps({"repo_name": "m4722", **numbers})
    command = f"echo 'warning: old client' >&2; echo '{content}'; echo 'bye {{' >&2"
    changes = {"balance_command": command, "balance_format": "sfapi"}
    path = tmp_path / "mine.toml"
    path.write_text(to_toml(load_site("testbed").model_copy(update=changes)))
    told = budget("--balance", "ask", "--project", "m4722", "--json", site=path)
    assert told.code == 0, told.words
    balance = json.loads(told.out)["balance"]["balance"]
    assert (balance["granted"], balance["used"], balance["mine"]) == (90.0, 10.0, 1.0)


def printed(tmp_path, used):
    path = tmp_path / "showusage.txt"
    path.write_text(SHOWUSAGE.format(used=used))
    return path


def test_a_balance_that_agrees_is_set_beside(budget, tmp_path):
    spend(Run(tmp_path, "tiny"), "frontier", time=recently())
    path = printed(tmp_path, 126.3)
    told = budget("--balance", path, "--project", "nph000", site="frontier")
    assert told.code == 0
    assert "nph000 on frontier: 19,874 node-hours left of 20,000; 126 used" in told.words
    assert "charged this campaign 0.5 node-hours that the balance must include by now" in told.words


def test_drift_is_told_and_ends_with_1(budget, tmp_path):
    spend(Run(tmp_path, "tiny"), "frontier", time=recently())
    words = ("--balance", printed(tmp_path, 0.1), "--project", "nph000")
    told = budget(*words, site="frontier")
    assert told.code == Exit.FAILED
    assert "drift the site has charged 0.4 node-hours less than the ledger" in told.words
    told = budget(*words, "--json", site="frontier")
    assert told.code == Exit.FAILED
    assert json.loads(told.out)["balance"]["missing"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("site", "words", "code", "message"),
    [
        (
            "frontier",
            (),
            Exit.USAGE,
            "--balance needs the project that pays. Give it with --project.",
        ),
        ("local", ("--project", "p"), Exit.USAGE, "local declares no balance_format"),
        ("perlmutter", ("--project", "p"), Exit.USAGE, "Save it as sfapi and give the file."),
        ("frontier", ("--project", "p"), Exit.FAILED, "`showusage` ended with exit code 127"),
    ],
)
def test_a_balance_that_cannot_be_asked_says_how_else(budget, site, words, code, message):
    told = budget("--balance", "ask", *words, site=site)
    assert told.code == code
    assert message in told.words


def test_a_print_that_is_not_there_or_holds_nothing(budget, tmp_path):
    words = ("--project", "nph000", "--balance")
    assert budget(*words, tmp_path / "none", site="frontier").code == Exit.USAGE
    (tmp_path / "empty").write_text("")
    told = budget(*words, tmp_path / "empty", site="frontier")
    assert told.code == Exit.BAD_INPUT
    assert "no balance of project 'nph000'" in told.words
