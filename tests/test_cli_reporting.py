"""The report as other programs read it."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from made_results import evaluated
from whole_campaign import TINY

from pipeline.budget.ledger import Ledger
from pipeline.budget.record import Kind, Record
from pipeline.campaign import load_campaign
from pipeline.outcome import Exit
from pipeline.run import Run


@pytest.fixture
def begun(tmp_path: Path) -> Run:
    """A run with one evaluation of those asked."""
    campaign, run = load_campaign(str(TINY)), Run(tmp_path, "tiny")
    task = next(each for each in campaign.tasks(run) if each.stage == "evaluate")
    run.task(task.key).finish(
        evaluated({"ari": 0.5}, intervals={"ari": (0.4, 0.6)}, store_sha256="5e")
    )
    return run


def test_results_are_printed_for_scripts(cosmotron: Any, begun: Run) -> None:
    there = ("--site", "local", "--root", begun.root)
    told = cosmotron("report", TINY, *there, "--format", "json")
    assert told.code == 0
    (setting,) = json.loads(told.out)
    ari = setting["scores"][0]
    assert [ari[name] for name in ("score", "mean", "low", "high")] == ["ari", 0.5, 0.4, 0.6]
    (row,) = csv.DictReader(io.StringIO(cosmotron("report", TINY, *there, "--format", "csv").out))
    assert (row["score"], row["mean"], row["stores"]) == ("ari", "0.5", "5e")
    assert "0.5000 [0.4000, 0.6000]" in cosmotron("report", TINY, *there, "--format", "latex").out
    assert not begun.page.exists()


def test_the_page_is_what_is_written_by_default(cosmotron: Any, begun: Run) -> None:
    told = cosmotron("report", TINY, "--site", "local", "--root", begun.root)
    assert told.out.strip() == str(begun.page)


def test_what_cannot_be_read_is_told_beside_the_results(cosmotron: Any, begun: Run) -> None:
    record = Record(kind=Kind.RESERVE, time=1.0, site="local", stage="s", task="s/t", job_key="k")
    broken = Ledger(begun.ledger).append(record)
    broken.write_text("{}")
    there = ("--site", "local", "--root", begun.root)
    told = cosmotron("report", TINY, *there, "--format", "json")
    assert told.code == 0
    assert len(json.loads(told.out)) == 1
    assert "left out" in told.words
    assert broken.name in told.words


def test_results_of_no_run(cosmotron: Any, tmp_path: Path) -> None:
    there = ("--site", "local", "--root", tmp_path)
    told = cosmotron("report", TINY, *there, "--format", "csv")
    assert told.code == Exit.BUSY
    assert "no such run. Start with: cosmotron run" in told.words


def test_a_format_that_there_is_not(cosmotron: Any, tmp_path: Path) -> None:
    told = cosmotron("report", TINY, "--root", tmp_path, "--format", "excel")
    assert told.code == Exit.USAGE
    assert "excel" in told.words


def test_figures_are_written_where_one_says(cosmotron: Any, begun: Run, tmp_path: Path) -> None:
    there = ("--site", "local", "--root", begun.root)
    told = cosmotron("report", TINY, *there, "--figures", tmp_path / "figures", "--style", "atlas")
    assert told.code == 0
    assert not begun.page.exists()
    assert told.words.endswith("No figure yet: nothing is finished that could be drawn.")


def test_figures_have_no_room_in_a_file(cosmotron: Any, begun: Run, tmp_path: Path) -> None:
    (tmp_path / "figures").touch()
    there = ("--site", "local", "--root", begun.root)
    told = cosmotron("report", TINY, *there, "--figures", tmp_path / "figures")
    assert told.code == Exit.CANNOT_WRITE
    assert f"{tmp_path / 'figures'}: not a folder. Name another." in told.words
