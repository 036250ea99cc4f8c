"""The table of a campaign's tasks, at any width of the terminal."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from pipeline.chains.progress import Progress
from pipeline.pace import Pace
from pipeline.workflow.display import table, trainings

TRAINING = "finetune/tracking-m0-d960-s1-frozen-l240-s1"
PACE = Pace(2, 22.3, 0.75, 0.45, 4784.0, 0.3556, 3600.0)
ROWS = [
    Progress("stage/labelled", "done", 2, 2, "files", "16 events"),
    Progress(TRAINING, "failed", 800, 1600, "events", "diverged at step 7", PACE),
]


def printed(grid: Table | None, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(grid)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [240, 120, 100, 80, 66])
def test_state_name_and_outcome_are_whole_at_any_width(width: int) -> None:
    lines = printed(table(ROWS, width), width)
    assert any(line.startswith("✓  stage/labelled ") for line in lines)
    assert any(line.startswith(f"✗  {TRAINING} ") for line in lines)
    assert "diverged at step 7" in " ".join(" ".join(lines).split())
    assert not any("…" in line for line in lines)
    assert max(map(len, lines)) <= width


def test_bars_give_way_first_then_counts() -> None:
    wide, middle, narrow = ("\n".join(printed(table(ROWS, n), n)) for n in (140, 90, 70))
    assert ["━" in shown for shown in (wide, middle, narrow)] == [True, False, False]
    assert ["800/1,600 events" in shown for shown in (wide, middle, narrow)] == [True, True, False]


@pytest.mark.parametrize("width", [240, 120, 80, 64])
def test_numbers_of_trainings_are_whole_or_left_out(width: int) -> None:
    head, line = printed(trainings(ROWS, width), width)
    assert "…" not in head + line
    assert line.startswith(TRAINING)
    assert head.split()[-2:] == ["loss", "eta"]
    assert line.split()[-2:] == ["0.3556", "1:00:00"]
    assert ("22.3 s" in line) == (width >= 120)


def test_trainings_that_took_no_step_have_no_table() -> None:
    assert trainings(ROWS[:1]) is None
