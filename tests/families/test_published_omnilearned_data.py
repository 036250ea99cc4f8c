"""OmniLearned's files are read as the authors' loader reads them."""

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")  # with which cases read weights

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.data.readers import omnilearned_h5
from tests.golden import omnilearned_data
from tests.golden.cases import Case

CASE = Case(ROOT / "tests" / "golden" / "published" / "omnilearned-data")


def test_points_kinds_and_labels_are_exactly_the_authors():
    rows = {row.name: row for row in omnilearned_data.held(CASE)}
    assert {"plain_X", "plain_pid", "plain_add_info", "plain_y"} <= rows.keys()
    assert [row for row in rows.values() if not row.passed] == []


def test_padding_by_another_column_shows(monkeypatch):
    monkeypatch.setattr(omnilearned_h5, "LOG_PT", 3)  # the energy
    with pytest.raises(ValueError, match="shape"):
        list(omnilearned_data.held(CASE))
