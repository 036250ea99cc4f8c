"""A part of a campaign, as one of several machines runs it."""

from pathlib import Path
from typing import Any

import pytest
from small_campaign import FULL, PRETRAINED, SCRATCH, STAGED, campaign, finish
from staged_alone import write_sources
from test_changes import set_rate

from pipeline.campaign import Campaign, Task
from pipeline.catalog import DeclarationError
from pipeline.planning import changes, selection
from pipeline.run import Run

EVALUATED, EVALUATED_SCRATCH = (each.replace("finetune", "evaluate") for each in (FULL, SCRATCH))


def two_models(content: dict[str, Any]) -> None:
    """Give the campaign a second model, whose name has the first one's in it, and a seed more."""
    content["models"]["m-large"] = content["models"]["m"] | {"width": 64}
    content["pretrain"] |= {"models": ["m", "m-large"], "seeds": [1, 2]}


@pytest.fixture
def asked(tmp_path: Path) -> Campaign:
    write_sources(tmp_path / "raw", 3)
    return campaign(tmp_path, tmp_path / "raw", two_models)


def of(asked: Campaign, run: Run, *only: str) -> set[str]:
    return set(selection.chosen(asked.tasks(run), asked, only))


def test_a_stage_with_what_it_needs(asked: Campaign, run: Run) -> None:
    assert of(asked, run, "stage") == {STAGED}
    cells = {f"pretrain/{model}-d4-s{seed}" for model in ("m", "m-large") for seed in (1, 2)}
    assert of(asked, run, "pretrain") == {STAGED, *cells}
    assert of(asked, run) == {task.key for task in asked.tasks(run)}


def test_a_model_is_not_another_one_whose_name_has_its_name(asked: Campaign, run: Run) -> None:
    large = of(asked, run, "m-large")
    assert PRETRAINED not in large
    assert {"pretrain/m-large-d4-s2", "evaluate/tracking-m-large-d4-s1-full-l2-s1"} < large
    assert not {key for key in of(asked, run, "m") if "large" in key}


def test_a_cell_a_task_and_a_pattern(asked: Campaign, run: Run) -> None:
    assert of(asked, run, "pretrain/m-d4") == {STAGED, PRETRAINED, "pretrain/m-d4-s2"}
    assert of(asked, run, EVALUATED) == {STAGED, PRETRAINED, FULL, EVALUATED}
    assert of(asked, run, "finetune/*-scratch-*") == {
        *(STAGED, SCRATCH, SCRATCH.replace("m-scratch", "m-large-scratch"))
    }
    assert of(asked, run, "stage", EVALUATED_SCRATCH) == {STAGED, SCRATCH, EVALUATED_SCRATCH}
    assert of(asked, run, "tracking") > {EVALUATED, EVALUATED_SCRATCH}


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("pretrian", "Did you mean pretrain, pretrain"),
        ("zzz", "There are: stage, pretrain, m, m-large, finetune, tracking, evaluate."),
    ],
)
def test_a_name_that_is_none(asked: Campaign, run: Run, name: str, advice: str) -> None:
    with pytest.raises(
        DeclarationError, match=f"--only {name}: no stage, model, task or"
    ) as caught:
        of(asked, run, name)
    assert advice in str(caught.value)


def apply(tasks: list[Task], asked: Campaign, run: Run, *only: str) -> Path | None:
    """Do what `run --only` does to a changed campaign before it submits anything."""
    keys = selection.chosen(tasks, asked, only)
    changed = selection.restricted(changes.compare(tasks, run, keys), tasks, keys)
    return changes.apply(changed, [task for task in tasks if task.key in changed], run)


def test_what_was_made_of_a_part_that_is_made_again_goes_with_it(
    tmp_path: Path, asked: Campaign, run: Run
) -> None:
    finish(asked.tasks(run), run)

    def other(content: dict[str, Any]) -> None:
        two_models(content)
        set_rate(content)

    changed = campaign(tmp_path, tmp_path / "raw", other)
    tasks = changed.tasks(run)
    aside = apply(tasks, changed, run, PRETRAINED)
    assert aside is not None
    moved = {"/".join(path.parts[-3:-1]) for path in aside.glob("*/*/task.toml")}
    assert moved == {PRETRAINED, FULL, EVALUATED}
    after = {key: each.meaning for key, each in changes.compare(tasks, run).items()}
    assert {after[key] for key in moved} == {"new"}
    assert after["pretrain/m-large-d4-s1"] == "made again", "the others are told the next time too"
    assert after[SCRATCH] == "the same"


def test_a_dataset_of_another_machine_needs_no_sources_here(tmp_path: Path, run: Run) -> None:
    write_sources(tmp_path / "raw", 3)

    def two_datasets(content: dict[str, Any]) -> None:
        content["datasets"]["far"] = content["datasets"]["ours"] | {"folder": str(tmp_path / "far")}

    asked = campaign(tmp_path, tmp_path / "raw", two_datasets)
    with pytest.raises(DeclarationError, match="no file matches"):
        asked.tasks(run)
    tasks = asked.tasks(run, optional=True)
    assert [len(task.files) for task in tasks if task.stage == "stage"] == [3, 0]
    assert selection.chosen(tasks, asked, [STAGED]) == {STAGED}
