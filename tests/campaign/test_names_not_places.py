"""What belongs to a name does not change with the others in its list; what a run has stays."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from pipeline.campaign import (
    FeaturesTask,
    FinetuneTask,
    SimulateTask,
    Task,
    declare,
    load_campaign,
)
from pipeline.planning.changes import compare
from pipeline.records import Product
from pipeline.run import Run

MONTHS = Path(__file__).parents[1] / "months" / "campaign.toml"


@pytest.fixture
def content() -> dict[str, Any]:
    """A campaign of two simulations, to change."""
    return tomllib.loads(MONTHS.read_text())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, "months")


def tasks_of(content: dict[str, Any], run: Run) -> list[Task]:
    path = run.root / "changed.toml"
    path.write_text(tomli_w.dumps(content))
    return load_campaign(str(path)).tasks(run)


def seeds(content: dict[str, Any], run: Run) -> dict[str, int]:
    tasks = tasks_of(content, run)
    return {task.key: task.seed for task in tasks if isinstance(task, SimulateTask)}


def test_a_simulation_keeps_its_seed_when_another_comes_or_goes(
    content: dict[str, Any], run: Run
) -> None:
    before = seeds(content, run)
    assert len(set(before.values())) == len(before) == 2
    content["simulations"]["a"] = content["simulations"]["tracks"]  # before the others
    more = seeds(content, run)
    assert {key: more[key] for key in before} == before
    assert len(set(more.values())) == 3
    content["seed"] += 1
    assert not set(seeds(content, run).values()) & set(more.values())


def test_a_simulation_of_an_older_run_keeps_the_seed_it_has(
    content: dict[str, Any], run: Run
) -> None:
    for place, task in enumerate(
        task for task in tasks_of(content, run) if isinstance(task, SimulateTask)
    ):
        older = task.model_copy(update={"seed": 1000 * content["seed"] + place})
        declare(run.task(task.key), older)
        run.task(task.key).finish(Product())
    content["simulations"]["a"] = content["simulations"]["tracks"]
    tasks = tasks_of(content, run)
    found = compare(tasks, run)
    meanings = {key: each.meaning for key, each in found.items() if key.startswith("simulate/")}
    assert meanings.pop("simulate/a") == "new"
    assert "made again" not in meanings.values()
    content["seed"] += 1
    assert {each.meaning for each in compare(tasks_of(content, run), run).values()} >= {
        "made again"
    }, "as another seed of the campaign asks"


def with_two_heads(content: dict[str, Any]) -> dict[str, Any]:
    """Two fine-tunings that share a cache; one of them changes the model."""
    first = content["finetune"]["tracking"] | {"cache": "mean"}
    content["finetune"] = {"tracking": first, "other": first | {"changes": {"time_steps": "zero"}}}
    return content


def features(tasks: list[Task]) -> dict[str, str]:
    """Return the time steps of the features that each fine-tuning reads."""
    made = {
        each.store: str(dict(each.model)["time_steps"])
        for each in tasks
        if isinstance(each, FeaturesTask)
    }
    return {each.key: made[each.store] for each in tasks if isinstance(each, FinetuneTask)}


def test_fine_tunings_that_change_the_model_share_no_features_with_others(
    content: dict[str, Any], run: Run
) -> None:
    content = with_two_heads(content)
    found = features(tasks_of(content, run))
    assert {key.split("/")[1].split("-")[0]: each for key, each in found.items()} == {
        "tracking": "log-uniform",
        "other": "zero",
    }
    content["finetune"] = dict(reversed(content["finetune"].items()))
    assert features(tasks_of(content, run)) == found


def test_features_of_an_older_run_keep_their_name(content: dict[str, Any], run: Run) -> None:
    content = with_two_heads(content)
    del content["finetune"]["tracking"]
    (task,) = (each for each in tasks_of(content, run) if isinstance(each, FeaturesTask))
    older = task.model_copy(update={"key": "features/labelled-mean-m-d8-s1"})
    assert task.key.startswith(f"{older.key}-")
    declare(run.task(older.key), older)
    found = tasks_of(content, run)
    assert [each.key for each in found if isinstance(each, FeaturesTask)] == [older.key]
    assert features(found) == {"finetune/other-m-d8-s1-frozen-l2-s1": "zero"}
    content["finetune"]["tracking"] = content["finetune"]["other"] | {"changes": {}}
    assert sorted(features(tasks_of(content, run)).values()) == ["log-uniform", "zero"]
