"""What decides a task's product, and what may change at any time."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.campaign import PretrainTask, Task, Training, load_campaign
from pipeline.campaign.identity import differences, files_changed, product_keys
from pipeline.campaign.tasks import StageTask
from pipeline.families import Model
from pipeline.families.fm4npp.spec import FM4NPPMamba2
from pipeline.families.particlenet.spec import ParticleNet
from pipeline.run import Run


def tasks(root: Path = Path("/runs"), name: str = "quickstart") -> list[Task]:
    return load_campaign(name).tasks(Run(root, name))


def pretraining() -> PretrainTask:
    (found,) = (task for task in tasks() if isinstance(task, PretrainTask))
    return found


def trained(model: Model | None = None, **changes: Any) -> PretrainTask:
    task = pretraining()
    training = Training(**{**task.training.model_dump(), **changes})
    return task.model_copy(update={"training": training, "model": model or task.model})


def words(before: Task, now: Task) -> list[str]:
    return [str(each) for each in differences(before, now)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("walltime_minutes", 300),
        ("checkpoint_events", 100),
        ("keep_checkpoints", 5),
        ("devices", 4),
        ("zero", 3),
        ("micro_events", 2),
        ("threads", 2),
        ("activation_checkpointing", True),
        ("writers", ("tensorboard",)),
        ("hang_seconds", 60),
    ],
)
def test_how_a_training_runs_is_not_what_it_is(key: str, value: object) -> None:
    assert words(pretraining(), trained(**{key: value})) == []


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("learning_rate", 1e-3, "training.learning_rate 0.002 → 0.001"),
        ("optimiser", "lion", "training.optimiser adamw → lion"),
        ("precision", "bf16", "training.precision fp32 → bf16"),
        ("amsgrad", True, "training.amsgrad false → true"),
        ("no_weight_decay", ("bias",), "training.no_weight_decay () → ('bias',)"),
    ],
)
def test_what_decides_the_weights_is_named_with_both_values(
    key: str, value: object, told: str
) -> None:
    assert words(pretraining(), trained(**{key: value})) == [told]


def test_devices_that_change_which_events_make_a_batch_decide_the_weights() -> None:
    few, many = trained(batch_events=96), trained(batch_events=96, devices=32)
    assert words(few, many) == ["training.lanes 48 → 32"]
    assert words(few, trained(batch_events=96, devices=2)) == []


def test_micro_batches_decide_the_weights_where_a_norm_is_over_them() -> None:
    whole = trained(ParticleNet())
    (told,) = words(whole, trained(ParticleNet(), micro_events=2))
    assert told.startswith("taken_together (not there) → particlenet: batch norm")
    assert words(whole, trained(ParticleNet(), micro_events=8)) == []


def test_the_name_of_a_size_is_not_what_it_is() -> None:
    named = FM4NPPMamba2(size="m1")
    given = FM4NPPMamba2(**{**named.model_dump(), "size": ""})
    assert words(trained(named), trained(given)) == []
    assert words(trained(named), trained(FM4NPPMamba2(**{**named.model_dump(), "layers": 5})))


def test_another_family_with_the_same_numbers_is_another_model() -> None:
    model = pretraining().model
    assert isinstance(model, FM4NPPMamba2)
    other = trained().model_copy(update={"model": model.model_copy(update={"family": "other"})})
    assert words(pretraining(), other) == ["model.family fm4npp-mamba2 → other"]


@pytest.mark.parametrize("name", ["quickstart", "every-task", "part-quick"])
def test_every_task_is_itself_wherever_the_names_of_incidental_keys_point(name: str) -> None:
    for task in tasks(name=name):
        assert differences(task, task) == ()
        assert product_keys(task), "something decides it"


def test_the_patterns_of_a_dataset_are_not_its_files() -> None:
    stage = next(task for task in tasks() if isinstance(task, StageTask))
    dataset = stage.dataset.model_copy(update={"files": {"train": 7}, "mean_points": 3.0})
    assert words(stage, stage.model_copy(update={"dataset": dataset})) == []
    other = stage.model_copy(update={"sources": {**stage.sources, "val": ("/a/x.npz",)}})
    assert [str(each) for each in files_changed(stage, other)] == [
        f"sources.val {stage.sources['val'][0]} → (not there)",
        "sources.val (not there) → /a/x.npz",
    ]


@given(st.floats(1e-5, 1e-1), st.integers(2, 64), st.sampled_from(["cosine", "constant"]))
def test_differences_are_empty_only_for_the_same_and_turn_around(
    rate: float, batch: int, schedule: str
) -> None:
    before, now = trained(), trained(learning_rate=rate, batch_events=batch, schedule=schedule)
    there, back = differences(before, now), differences(now, before)
    assert [(each.key, each.before, each.now) for each in there] == [
        (each.key, each.now, each.before) for each in back
    ]
    same = (rate, batch, schedule) == (
        before.training.learning_rate,
        before.training.batch_events,
        before.training.schedule,
    )
    assert (not there) == same
