"""Some of the months: `python -m tests.months` lives through all of them."""

import pytest

from months.bed import Bed
from months.check import live
from months.rows import ROWS

pytest.importorskip("deepspeed")

SOME = (
    *("begin", "add a label count", "upgrade: declarations of an older version"),
    *("move the run", "lose records of the ledger"),
)


@pytest.mark.slow
def test_plan_says_what_run_then_does(tmp_path):
    bed = Bed(tmp_path, "local")
    rows = {row.wish: row for row in ROWS}
    for wish in SOME:
        assert live(bed, rows[wish]).wrong == (), wish


def test_every_wish_is_one_of_its_own_or_takes_the_last_one_back():
    wishes = [row.wish for row in ROWS if row.wish != "take it away"]
    assert len(wishes) == len(set(wishes))
    assert len(ROWS) >= 30
