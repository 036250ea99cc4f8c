from pathlib import Path

import pytest

from pipeline import catalog
from pipeline.campaign import SHELF, Campaign, declare, load_campaign, stored, to_toml
from pipeline.catalog import DeclarationError
from pipeline.run import Run

QUICKSTART = catalog.find(SHELF, "quickstart")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, "quickstart")


def changed(tmp_path: Path, old: str, new: str) -> Campaign:
    """The quickstart, with one thing written differently."""
    text = QUICKSTART.read_text()
    assert old in text
    path = tmp_path / "changed.toml"
    path.write_text(text.replace(old, new, 1))
    return load_campaign(str(path))


def problem(tmp_path: Path, old: str, new: str) -> str:
    with pytest.raises(DeclarationError) as caught:
        changed(tmp_path, old, new)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'changed.toml'}:")
    return message


@pytest.mark.parametrize("name", catalog.names(SHELF))
def test_every_declared_campaign_loads_and_is_named_as_its_file(name: str) -> None:
    assert load_campaign(name).name == name


def test_the_quickstart_is_these_tasks(run: Run) -> None:
    keys = [task.key for task in load_campaign("quickstart").tasks(run)]
    assert keys == [
        "simulate/collisions",
        "simulate/tracks",
        "stage/unlabelled",
        "stage/labelled",
        "pretrain/m0-d960-s1",
        "finetune/tracking-m0-d960-s1-frozen-l240-s1",
        "evaluate/tracking-m0-d960-s1-frozen-l240-s1",
        "finetune/tracking-m0-d960-s1-full-l240-s1",
        "evaluate/tracking-m0-d960-s1-full-l240-s1",
        "finetune/tracking-m0-scratch-l240-s1",
        "evaluate/tracking-m0-scratch-l240-s1",
    ]


def test_every_task_comes_after_what_it_needs(run: Run) -> None:
    tasks = load_campaign("quickstart").tasks(run)
    for number, task in enumerate(tasks):
        assert set(task.needs) <= {earlier.key for earlier in tasks[:number]}, task.key


def test_a_model_from_scratch_does_not_wait_for_pretraining(run: Run) -> None:
    needs = {task.key: task.needs for task in load_campaign("quickstart").tasks(run)}
    scratch = needs["finetune/tracking-m0-scratch-l240-s1"]
    frozen = needs["finetune/tracking-m0-d960-s1-frozen-l240-s1"]
    assert scratch == ("stage/labelled",)
    assert frozen == ("stage/labelled", "pretrain/m0-d960-s1")


def test_a_grid_is_every_combination(tmp_path: Path, run: Run) -> None:
    campaign = changed(tmp_path, "events = [960]", "events = [500, 960]\nseeds = [1, 2, 3]")
    tasks = campaign.tasks(run)
    assert len([task for task in tasks if task.stage == "pretrain"]) == 6
    assert len([task for task in tasks if task.stage == "finetune"]) == 2 * 6 + 1
    assert len({task.key for task in tasks}) == len(tasks)


def test_datasets_that_fit_their_own_bins_come_first(tmp_path: Path, run: Run) -> None:
    first, second = "[datasets.unlabelled]", "[datasets.labelled]"
    text = QUICKSTART.read_text()
    start, middle, stop = text.index(first), text.index(second), text.index("[models.m0]")
    path = tmp_path / "turned.toml"
    path.write_text(text[:start] + text[middle:stop] + text[start:middle] + text[stop:])
    staged = [t.key for t in load_campaign(str(path)).tasks(run) if t.stage == "stage"]
    assert staged == ["stage/unlabelled", "stage/labelled"]


def test_the_parts_of_a_simulation_are_the_sources_of_its_dataset(run: Run) -> None:
    tasks = {task.key: task for task in load_campaign("quickstart").tasks(run)}
    simulated, staged = tasks["simulate/tracks"], tasks["stage/labelled"]
    assert [(split, str(path)) for split, path in simulated.files] == list(staged.files)
    assert [path.name for _, path in simulated.files] == [
        "pp200_000.root",
        "pp200_001.root",
        "pp200_000.root",
    ]
    assert [path.name for _, path in tasks["simulate/collisions"].files][:2] == [
        "spacepoints_000.npz",
        "spacepoints_001.npz",
    ]
    assert simulated.seed != tasks["simulate/collisions"].seed


UNKNOWN_KEYS = [
    ('name = "quickstart"', 'nam = "x"', "nam: unknown key. Did you mean 'name'?"),
    ("labelled = false", "labeled = false", "simulations.collisions.labeled: unknown key. Did you"),
    ('order = "REP"', 'odrer = "REP"', "datasets.unlabelled.odrer: unknown key. Did you mean"),
    ("width = 64", "widht = 64", "models.m0.widht: unknown key. Did you mean 'width'?"),
    ('dataset = "unlabelled"', 'dateset = "unlabelled"', "pretrain.dateset: unknown key. Did you"),
    ("zero = 1", "zeroo = 1", "pretrain.training.zeroo: unknown key. Did you mean 'zero'?"),
    ("labels = [", "label = [", "finetune.tracking.label: unknown key. Did you mean 'labels'?"),
    ("queries = ", "query = ", "finetune.tracking.head.query: unknown key. Did you mean 'queries'"),
]


@pytest.mark.parametrize(("old", "new", "expected"), UNKNOWN_KEYS)
def test_an_unknown_key_is_named_with_its_nearest(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert expected in problem(tmp_path, old, new)


IMPOSSIBLE = [
    (
        'simulation = "collisions"',
        'simulation = "x"',
        "datasets.unlabelled.simulation: 'x' is",
    ),
    ('bins_from = "unlabelled"', 'bins_from = "x"', "datasets.labelled.bins_from: 'x' is none of"),
    ('bins_from = "unlabelled"', 'bins_from = "labelled"', "'labelled' is none of: unlabelled"),
    ('dataset = "unlabelled"', 'dataset = "x"', "pretrain.dataset: 'x' is none of: unlabelled, la"),
    ('models = ["m0"]', 'models = ["m0", "m9"]', "pretrain.models: 'm9' is none of: m0"),
    ('dataset = "labelled"', 'dataset = "x"', "finetune.tracking.dataset: 'x' is none of"),
    ('simulation = "tracks"', "", "give either simulation, or folder and splits"),
    (
        'simulation = "tracks"',
        'simulation = "tracks"\nfolder = "x"\nsplits = {train=["*"]}',
        "give",
    ),
    ("width = 64", "width = 48", "width 48 is no multiple of 32 (heads of 64 over 2 × width)"),
    ("devices = 2", "devices = 9", "batch_events 8 is below devices 9"),
    ("checkpoint_events = 400", "checkpoint_events = 400\nkeep_checkpoints = 1", "greater than or"),
    ('name = "quickstart"', 'name = "Quick start"', "String should match pattern"),
    ("learning_rate = 2e-3", "learning_rate = 0", "pretrain.training.learning_rate: Input should"),
    (
        'order = "REP"',
        'order = "RPP"',
        "datasets.unlabelled.order: Input should be 'file', 'time', 'none', 'EPR'",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), IMPOSSIBLE)
def test_what_cannot_be_is_refused_when_it_is_read(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert expected in problem(tmp_path, old, new)


def test_fine_tuning_needs_models(tmp_path: Path) -> None:
    text = QUICKSTART.read_text()
    start, stop = text.index("[pretrain]"), text.index("[finetune.tracking]")
    found = problem(tmp_path, text[start:stop], "")
    assert "finetune: needs a [pretrain] section, whose models it takes" in found


def from_files(tmp_path: Path, folder: str, pattern: str) -> Campaign:
    source = f'folder = "{folder}"\nsplits = {{ train = ["{pattern}"] }}'
    return changed(tmp_path, 'simulation = "collisions"', source)


def test_source_files_are_found_below_the_folder_sorted(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b.npz", "a.npz", "c.root"):
        (tmp_path / name).touch()
    monkeypatch.setenv("EVENTS", str(tmp_path))
    tasks = from_files(tmp_path, "$EVENTS", "*.npz").tasks(run)
    staged = next(task for task in tasks if task.key == "stage/unlabelled")
    assert staged.sources == {"train": (str(tmp_path / "a.npz"), str(tmp_path / "b.npz"))}
    assert staged.needs == ()


def test_a_pattern_that_matches_nothing(tmp_path: Path, run: Run) -> None:
    campaign = from_files(tmp_path, str(tmp_path), "*.hdf5")
    with pytest.raises(DeclarationError) as caught:
        campaign.tasks(run)
    assert str(caught.value) == (
        f"datasets.unlabelled.splits.train: no file matches *.hdf5 below {tmp_path}. "
        "Check the folder, or fetch the files first."
    )


def test_a_resolved_campaign_reads_back_as_itself(tmp_path: Path) -> None:
    campaign = load_campaign("quickstart")
    path = tmp_path / "resolved.toml"
    path.write_text(to_toml(campaign))
    assert load_campaign(str(path)) == campaign
    assert "keep_checkpoints = 2" in path.read_text(), "what was left out is written too"


def test_every_task_reads_back_as_itself(run: Run) -> None:
    for task in load_campaign("quickstart").tasks(run):
        folder = run.task(task.key)
        declare(folder, task)
        declare(folder, task)  # a second time changes nothing
        assert stored.read(folder, type(task)) == task


def test_a_changed_campaign_needs_another_name(tmp_path: Path, run: Run) -> None:
    for task in load_campaign("quickstart").tasks(run):
        declare(run.task(task.key), task)
    other = changed(tmp_path, "learning_rate = 2e-3", "learning_rate = 3e-3")
    task = next(each for each in other.tasks(run) if each.stage == "pretrain")
    with pytest.raises(DeclarationError) as caught:
        declare(run.task(task.key), task)
    assert str(caught.value) == (
        f"{run.task(task.key).declaration}: {task.key} was declared differently before: "
        "training.learning_rate 0.002 → 0.003. Give the changed campaign (or store) another name, "
        f"or move {run.task(task.key).path} away."
    )


def test_the_last_partial_batch_is_not_taken(tmp_path: Path) -> None:
    training = changed(tmp_path, "events_seen = 1600", "events_seen = 1607").pretrain.training
    assert training.steps == 200
    assert training.model_copy(update={"events_seen": 3}).steps == 1
