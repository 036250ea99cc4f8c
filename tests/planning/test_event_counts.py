"""More events than a dataset has are refused before anything is submitted."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from test_truth import store

from pipeline.campaign import declare, load_campaign
from pipeline.outcome import Exit
from pipeline.planning import selection
from pipeline.planning.event_counts import too_few
from pipeline.records import Product
from pipeline.run import Run

MONTHS = Path(__file__).parents[1] / "months" / "campaign.toml"
TUNED = "finetune/tracking-m-d8-s1-frozen-l"


@pytest.fixture
def content() -> dict[str, Any]:
    """A campaign whose simulation has 4 labelled events of split train, and 8 without labels."""
    return tomllib.loads(MONTHS.read_text())


def declared(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "changed.toml"
    path.write_text(tomli_w.dumps(content))
    return path


def told(tmp_path: Path, content: dict[str, Any]) -> list[str]:
    campaign = load_campaign(str(declared(tmp_path, content)))
    return list(too_few(selection.part(campaign, Run(tmp_path, "months"), elsewhere=True)))


def from_files(content: dict[str, Any]) -> None:
    """Let the labelled events come from files, of which nothing is known."""
    del content["datasets"]["labelled"]["simulation"]
    splits = {"train": ["a*.root"], "test": ["b*.root"]}
    content["datasets"]["labelled"] |= {"folder": "/nowhere", "splits": splits, "files": {}}
    content["datasets"]["labelled"]["files"] = {"train": 1, "test": 1}


def test_what_is_declared_to_be_simulated_is_the_most_there_can_be(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    assert told(tmp_path, content) == []
    content["finetune"]["tracking"]["labels"] = [2, 5, 4000]
    content["pretrain"]["events"] = [8, 17]
    advice = "Ask for fewer, or add files to the dataset."
    pretrained, tuned = told(tmp_path, content)
    assert pretrained == (
        "pretrain/m-d17-s1: 17 events of split 'train' are asked for, and simulations.collisions "
        f"makes at most 16. {advice}"
    )
    assert tuned == (
        f"{TUNED}4000-s1 and 3 more: 4,000 events of split 'train' are asked for, and "
        f"simulations.tracks makes at most 4. {advice}"
    )


def test_of_files_that_are_not_staged_nothing_is_known(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    from_files(content)
    content["finetune"]["tracking"]["labels"] = [4000]
    assert told(tmp_path, content) == []


def test_a_staged_store_knows_its_events(tmp_path: Path, content: dict[str, Any]) -> None:
    campaign = load_campaign(str(declared(tmp_path, content)))
    run = Run(tmp_path, "months")
    for task in campaign.tasks(run):
        if task.stage in ("simulate", "stage"):
            declare(run.task(task.key), task)
            run.task(task.key).finish(Product())
    store(run.store("labelled"), {"train": [], "test": []})
    content["finetune"]["tracking"]["labels"] = [4, 5]
    (line,) = told(tmp_path, content)
    assert f"{TUNED}5-s1: 5 events of split 'train'" in line
    assert f"{run.store('labelled')} has 4. Ask" in line
    content["simulations"]["tracks"]["files"]["train"] = 2
    assert told(tmp_path, content) == [], "it is staged again, with more"


def test_plan_and_run_say_so_before_anything_is_submitted(
    cosmotron: Any, tmp_path: Path, content: dict[str, Any]
) -> None:
    content["finetune"]["tracking"]["labels"] = [5]
    words = (declared(tmp_path, content), "--site", "local", "--root", tmp_path / "runs")
    for verb in ("plan", "run"):
        said = cosmotron(verb, *words)
        assert said.code == Exit.USAGE
        assert "simulations.tracks makes at most 4. Ask for fewer" in said.words
    assert not (tmp_path / "runs").exists()
