"""The fine-tuning fan-out: heads, modes, and the features that frozen heads share."""

from pathlib import Path

import pytest

from pipeline.campaign import FeaturesTask, FinetuneTask, PretrainTask, load_campaign
from pipeline.catalog import DeclarationError
from pipeline.run import Run

EVERY = Path("jobs/campaigns/every-task.toml")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, "every-task")


def changed(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = EVERY.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "changed.toml").write_text(text)
    return tmp_path / "changed.toml"


def test_each_model_is_pretrained_on_its_own_dataset(run: Run) -> None:
    tasks = {task.key: task for task in load_campaign("every-task").tasks(run)}
    stores = {
        name: tasks[f"pretrain/{name}-s1"].store.stem
        for name in ("fm4npp-d180", "omnijet-d400", "polarbert-d800")
    }
    assert list(stores.values()) == ["points", "tokens", "pulses"]
    assert tasks["pretrain/omnijet-d400-s1"].needs == ("tokenize/tokens",)
    assert tasks["pretrain/fm4npp-d180-s1"].training.events_seen == 400
    assert tasks["pretrain/polarbert-d800-s1"].training.events_seen == 3200


def test_the_grid_has_every_cell_once(run: Run) -> None:
    """Sizes × modes × labels × seeds, and an evaluation of each."""
    tasks = load_campaign("every-task").tasks(run)
    tuned = [task for task in tasks if isinstance(task, FinetuneTask)]
    assert len(tuned) == 2 + 3 + 2 + 2 + 3 * 2 + 2
    assert len({task.key for task in tasks}) == len(tasks)
    assert sum(task.stage == "evaluate" for task in tasks) == len(tuned)
    assert {task.head.task for task in tuned} == {
        *("tracks", "particles", "noise", "momentum", "jets", "direction")
    }


def test_what_begins_with_nothing_is_trained_once_for_all_data_sizes(
    tmp_path: Path, run: Run
) -> None:
    path = changed(tmp_path, ("events = [400]", "events = [100, 200, 400]"))
    keys = [task.key for task in load_campaign(str(path)).tasks(run)]
    scratch = [key for key in keys if key.startswith("finetune/jets-omnijet-scratch-")]
    assert scratch == [f"finetune/jets-omnijet-scratch-l{labels}-s1" for labels in (100, 400)]
    assert sum(key.startswith("finetune/jets-") and "-full-" in key for key in keys) == 3 * 2


def test_frozen_heads_on_one_backbone_share_its_features(tmp_path: Path, run: Run) -> None:
    cache = [
        (f"[finetune.{name}]\n", f'[finetune.{name}]\ncache = "mean"\n')
        for name in ("tracks", "particles", "jets")
    ]
    tasks = load_campaign(str(changed(tmp_path, *cache))).tasks(run)
    features = [task for task in tasks if isinstance(task, FeaturesTask)]
    assert [task.key for task in features] == [
        "features/points-mean-fm4npp-d180-s1",
        "features/tokens-mean-omnijet-d400-s1",
    ]
    assert features[0].needs == ("pretrain/fm4npp-d180-s1", "stage/points")
    for task in (task for task in tasks if isinstance(task, FinetuneTask)):
        cached = task.mode == "frozen" and task.head.task in ("tracks", "particles", "jets")
        assert task.cached == cached
        assert ("-mean-" in task.store.stem) == cached
        assert any(need.startswith("features/") for need in task.needs) == cached


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('task = "particles"', 'task = "quarks"', "quarks"),
        (
            'task = "particles"\nwidth = 32',
            'task = "particles"\nwidth = 33',
            "no multiple of heads 4",
        ),
        ('task = "jets"\n', 'task = "jets"\nclasses = ["top"]\n', "give two or more, each once"),
        ('dataset = "tokens"\nevents', 'dataset = "none"\nevents', "by_model.omnijet.dataset"),
        ('dataset = "tokens"\nevents', 'dataset = "jets"\nevents', "takes tokens, and 'jets' is"),
        ('modes = ["frozen", "lora", "full"]', 'modes = ["thawed"]', "should be .frozen., .lora."),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        load_campaign(str(changed(tmp_path, (old, new))))


def test_a_head_that_does_not_say_its_task_finds_tracks(run: Run) -> None:
    tasks = load_campaign("quickstart").tasks(run)
    heads = {task.head.task for task in tasks if isinstance(task, FinetuneTask)}
    assert heads == {"tracks"}


def test_a_fine_tuning_changes_what_is_no_shape_of_its_model(tmp_path: Path, run: Run) -> None:
    section = "[finetune.direction.changes]\nmasked = 0.5\n\n[finetune.direction.head]"
    path = changed(tmp_path, ("[finetune.direction.head]", section))
    tasks = load_campaign(str(path)).tasks(run)
    of = {task.key: task.model for task in tasks if isinstance(task, FinetuneTask | PretrainTask)}
    masked = {key: getattr(model, "masked", None) for key, model in of.items()}
    assert masked["pretrain/polarbert-d800-s1"] == 0.25
    assert masked["finetune/direction-polarbert-d800-s1-full-l800-s1"] == 0.5
    assert masked["finetune/direction-polarbert-scratch-l800-s1"] == 0.5


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("width = 96", r"finetune\.direction\.changes: models\.polarbert: width: 96, where the"),
        ("widths = 96", "widths: Extra inputs"),
        ("masked = 1.5", "masked: Input should be less than 1"),
    ],
)
def test_what_decides_shapes_cannot_be_changed(tmp_path: Path, field: str, message: str) -> None:
    section = f"[finetune.direction.changes]\n{field}\n\n[finetune.direction.head]"
    path = changed(tmp_path, ("[finetune.direction.head]", section))
    with pytest.raises(DeclarationError, match=message):
        load_campaign(str(path))


@pytest.mark.parametrize("same", [False, True])
def test_a_seed_chooses_labels_for_all_modes_unless_they_are_to_be_the_same(
    tmp_path: Path, run: Run, same: bool
) -> None:
    head = "[finetune.jets]\n"
    path = changed(
        tmp_path, (head, f"{head}seeds = [3, 5]\n{'same_labels = true' if same else ''}\n")
    )
    tasks = load_campaign(str(path)).tasks(run)
    tuned = [each for each in tasks if isinstance(each, FinetuneTask) and each.head.task == "jets"]
    found = {(each.mode, each.seed): each.subset for each in tuned}
    modes = {"frozen", "full", "scratch"}
    assert found == {(mode, seed): 0 if same else seed for mode in modes for seed in (3, 5)}
