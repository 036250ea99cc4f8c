"""Pages and notebooks that lead a new user from files to results: followed as they are written."""

import base64
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import awkward
import numpy as np
import pytest
from typed_pages import follow

from pipeline.downstream.custom.display import CAPTION as OF_A_FILE

pytest.importorskip("deepspeed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # a page is followed as a whole

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples/notebooks").glob("*.ipynb"))
LADDER = "examples/notebooks/ladder.toml"


def of_user(patch, folder):
    """Stand in `folder`, as a user on a laptop."""
    patch.chdir(folder)
    patch.setenv("PYTHONPATH", str(ROOT))
    patch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin")
    patch.setenv("MPLBACKEND", "agg")
    for name in ("COSMOTRON_PROJECT", "NERSC_HOST", "LMOD_SYSTEM_NAME", "SCRATCH"):
        patch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def first_day(tmp_path_factory):
    """The folder of a user who followed the page of the first day, and the notebook's names."""
    folder = tmp_path_factory.mktemp("first-day")
    with pytest.MonkeyPatch.context() as patch:
        of_user(patch, folder)
        return folder, follow(ROOT / "docs/first-day.md", folder)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The same of the page on everything of one's own."""
    folder = tmp_path_factory.mktemp("own")
    ignored = shutil.ignore_patterns("files", "__pycache__")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=ignored)
    with pytest.MonkeyPatch.context() as patch:
        of_user(patch, folder)
        return folder, follow(ROOT / "docs/bring-your-own.md", folder)


@pytest.fixture(scope="module")
def ladder(own):
    """The folder in which the ladder of the notebook on scaling was run."""
    folder, _ = own
    with pytest.MonkeyPatch.context() as patch:
        of_user(patch, folder)
        words = ["cosmotron", "run", LADDER, "--site", "local", "--yes"]
        subprocess.run(words, check=True, capture_output=True)
    return folder


def test_the_first_day_leads_from_files_to_a_roc_curve_and_weights(first_day):
    folder, names = first_day
    assert names["jet"].points.px.ndim == 1
    assert names["store"].units["px"] == "GeV"
    table = names["table"]
    assert sorted(zip(table.model, table.labels, strict=True)) == [
        (model, labels) for model in ("mine", "pet") for labels in (100, 1000)
    ]
    assert (table.auc[table.labels == 1000] > 0.55).all(), "the pictures show more than chance"
    assert len(names["found"]) == len(names["states"]) > 200
    assert names["auc"] > 0.6
    assert (folder / "roc.pdf").read_bytes()[:4] == b"%PDF"
    written = awkward.from_parquet(folder / "tops.parquet")
    assert len(written) == 130
    assert written.probability_Tbqq.tolist() == names["tops"].probability_Tbqq.tolist()


def test_an_experiment_a_model_an_objective_and_a_task_of_ones_own(own):
    folder, names = own
    results = names["run"].results()
    assert sorted(results.loc[results.resolution.notna(), "mode"]) == ["full", "scratch"]
    assert results.resolution.max() < 0.5
    assert results.accuracy.min() > 0.8
    assert np.array_equal(names["energies"], names["found"].energy_gev), "as evaluated"
    written = awkward.from_parquet(folder / "energies.parquet")
    assert written.energy_gev.tolist() == names["energies"].tolist()
    assert names["states"].shape == (400, 32)
    assert len(names["kept"]) == 400
    card = (folder / "exported/README.md").read_text()
    assert "not in this folder: `cells.py`, `energy.py`, `showers.py`. Put them" in card
    page = (folder / "runs/calorimeter/report/index.html").read_text()
    assert "Resolution of E" in page
    assert OF_A_FILE in re.sub(r"\s+", " ", page)
    assert "data:image/png" in page, "as the task draws an event"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_pictures_show_something(path, request, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    from matplotlib.image import imread
    from nbclient import NotebookClient

    is_scaling = path.stem == "scaling"
    folder = (
        request.getfixturevalue("ladder") if is_scaling else request.getfixturevalue("first_day")[0]
    )
    of_user(monkeypatch, folder)
    monkeypatch.delenv("MPLBACKEND")
    book = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in book.cells), "outputs are stripped"
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [each for cell in book.cells for each in cell.get("outputs", [])]
    assert not [each for each in outputs if each.get("name") == "stderr"], "no warnings"
    pictures = [each.data["image/png"] for each in outputs if "image/png" in each.get("data", {})]
    drawn = [imread(io.BytesIO(base64.b64decode(each))) for each in pictures]
    assert drawn
    assert all(each[..., :3].std() > 0.03 for each in drawn)


def test_the_page_on_python_names_every_notebook():
    page = (ROOT / "docs/python.md").read_text()
    assert len(NOTEBOOKS) == 5
    assert [path.name for path in NOTEBOOKS if f"notebooks/{path.name})" not in page] == []
