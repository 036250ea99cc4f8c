"""Pages that lead a new user from files to results: followed from top to bottom, as written."""

import re
import shutil
from pathlib import Path

import awkward
import numpy as np
import pytest
from typed_pages import follow

from pipeline.downstream.custom.display import CAPTION as OF_A_FILE

pytest.importorskip("deepspeed")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder that the commands are typed in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("COSMOTRON_PROJECT", "NERSC_HOST", "LMOD_SYSTEM_NAME", "SCRATCH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_an_experiment_a_model_an_objective_and_a_task_of_ones_own(here):
    ignored = shutil.ignore_patterns("files", "__pycache__")
    shutil.copytree(ROOT / "examples", here / "examples", ignore=ignored)
    names = follow(ROOT / "docs" / "bring-your-own.md", here)
    results = names["run"].results()
    assert sorted(results.loc[results.resolution.notna(), "mode"]) == ["full", "scratch"]
    assert results.resolution.max() < 0.5
    assert results.accuracy.min() > 0.8
    assert np.array_equal(names["energies"], names["found"].energy_gev), "as evaluated"
    assert (
        awkward.from_parquet("energies.parquet").energy_gev.tolist() == names["energies"].tolist()
    )
    assert names["states"].shape == (400, 32)
    assert len(names["kept"]) == 400
    page = (here / "runs/calorimeter/report/index.html").read_text()
    assert "Resolution of E" in page
    assert OF_A_FILE in re.sub(r"\s+", " ", page)
    assert "data:image/png" in page, "as the task draws an event"
