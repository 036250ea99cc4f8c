"""Campaigns that test models on events that they are trained on, and those that only look so."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from staged_alone import write_sources
from whole_campaign import SMALL_PRETRAINING

from pipeline.campaign import Campaign, StageTask, declare, load_campaign, model_folder
from pipeline.campaign.model_folder import ModelFolder, StoredWeights
from pipeline.catalog import DeclarationError
from pipeline.data import training_data
from pipeline.data.errors import BadInput
from pipeline.data.program import run as run_program
from pipeline.data.stage import STAGE
from pipeline.data.store import Store
from pipeline.data.training_data import TrainingData, of_split
from pipeline.families.fm4npp.spec import FM4NPPMamba2
from pipeline.outcome import Exit
from pipeline.planning import overlaps
from pipeline.run import Run, TaskFolder

TEMPLATE = """
name = "c"
{head}
"""
DATASET = """
[datasets.{name}]
experiment = "sphenix"
neighbours = 3
bins = [2, 2, 3]
folder = "{folder}"
splits = {splits}
{more}
"""
PROBE = '[probe.seen]\ndataset = "{name}"\n'
MOSTLY = "fractions = { train = 0.8, test = 0.2 }"
HALVES = "fractions = { train = 0.5, test = 0.5 }"
ALL = '{ all = ["*.npz"] }'


def dataset(name: str, folder: Path, splits: str = ALL, more: str = "") -> str:
    return DATASET.format(name=name, folder=folder, splits=splits, more=more)


def written(path: Path, *sections: str, head: str = "") -> Path:
    file = path / "c.toml"
    file.write_text("\n".join([TEMPLATE.format(head=head), SMALL_PRETRAINING, *sections]))
    return file


def made(path: Path, *sections: str, head: str = "") -> Campaign:
    return load_campaign(str(written(path, *sections, head=head)))


def found(campaign: Campaign, run: Run, of: str = "") -> list[str]:
    return [str(each) for each in overlaps.findings(campaign.tasks(run), run, of)]


def refused(campaign: Campaign, run: Run) -> str:
    """Return the message with which the campaign is refused; it can be allowed."""
    tasks = campaign.tasks(run)
    with pytest.raises(DeclarationError) as told:
        overlaps.check(tasks, run, allow=False)
    assert overlaps.check(tasks, run, allow=True)[0]
    return str(told.value)


def staged(campaign: Campaign, run: Run, *names: str) -> None:
    """Stage the datasets `names`, or all, in this process."""
    for task in campaign.tasks(run):
        if isinstance(task, StageTask) and task.store.stem in (names or (task.store.stem,)):
            folder = run.task(task.key)
            declare(folder, task)
            parts = (f"--part {number}" for number in range(len(task.files)))
            for step in ("--begin", *parts, "--finish"):
                assert run_program(STAGE, [str(folder.path), *step.split()]) == 0


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_sources(tmp_path / "raw", 3)
    return tmp_path / "raw"


def test_equal_fractions_of_the_same_files_are_no_overlap(
    tmp_path: Path, raw: Path, run: Run
) -> None:
    pair = dataset("ours", raw, more=MOSTLY), dataset("theirs", raw, more=MOSTLY)
    campaign = made(tmp_path, *pair, PROBE.format(name="theirs"))
    assert found(campaign, run) == []
    staged(campaign, run)
    assert found(campaign, run) == []


def test_other_fractions_of_the_same_files_are_refused_by_name(
    tmp_path: Path, raw: Path, run: Run
) -> None:
    pair = dataset("ours", raw, more=MOSTLY), dataset("theirs", raw, more=HALVES)
    campaign = made(tmp_path, *pair, PROBE.format(name="theirs"))
    assert refused(campaign, run) == (
        "Models are tested on events that they are trained on:\n"
        "  - about 60 % of the events of theirs, split 'test', in 3 files, the first is "
        f"{raw}/spacepoints_000.npz, are among those that pretrain/m-d4-s1 is trained on (ours, "
        "split 'train'); tested by probe/seen-m-d4-s1\n"
        "List each file in one of them, or deal both by the same fractions; or write "
        "allow_overlap = true in the campaign, whose page will then say so."
    )
    staged(campaign, run)
    exact = refused(campaign, run)
    manifest = Store.open(run.store("theirs")).manifest
    assert f" of {manifest.events['test']} events of theirs, split 'test', are among those" in exact


def test_a_gap_between_other_fractions_is_no_overlap(tmp_path: Path, raw: Path, run: Run) -> None:
    pair = dataset("ours", raw, more=HALVES), dataset("theirs", raw, more=MOSTLY)
    campaign = made(tmp_path, *pair, PROBE.format(name="theirs"))
    assert found(campaign, run) == []
    staged(campaign, run)
    assert found(campaign, run) == []


@pytest.mark.parametrize("links", [False, True])
def test_a_file_that_one_trains_on_and_another_tests_is_refused(
    tmp_path: Path, raw: Path, run: Run, links: bool
) -> None:
    folder = raw
    if links:
        folder = tmp_path / "linked"
        folder.mkdir()
        (folder / "a.npz").symlink_to(raw / "spacepoints_001.npz")
    name = "a.npz" if links else "spacepoints_001.npz"
    campaign = made(
        tmp_path,
        dataset("ours", raw, '{ train = ["*.npz"] }'),
        dataset("theirs", folder, f'{{ test = ["{name}"] }}', 'bins_from = "ours"'),
        PROBE.format(name="theirs"),
    )
    expected = f"events of theirs, split 'test', in {folder}/{name}, are among those"
    assert f"all {expected}" in refused(campaign, run)
    staged(campaign, run)
    assert "7 of 7 events of theirs, split 'test', are among those" in refused(campaign, run)


def test_a_copy_is_found_once_it_is_staged(tmp_path: Path, raw: Path, run: Run) -> None:
    (tmp_path / "copies").mkdir()
    shutil.copy(raw / "spacepoints_001.npz", tmp_path / "copies" / "b.npz")
    campaign = made(
        tmp_path,
        dataset("ours", raw, '{ train = ["*.npz"] }'),
        dataset("theirs", tmp_path / "copies", '{ test = ["*.npz"] }', 'bins_from = "ours"'),
        PROBE.format(name="theirs"),
    )
    assert found(campaign, run) == []
    staged(campaign, run, "ours")
    assert found(campaign, run, of="pretrain/m-d4-s1") == []
    staged(campaign, run, "theirs")
    assert f"in {tmp_path}/copies/b.npz" in refused(campaign, run)
    assert len(found(campaign, run, of="pretrain/m-d4-s1")) == 1
    assert found(campaign, run, of="probe/seen-m-d4-s1") == []


def test_a_test_on_the_training_split_is_refused(tmp_path: Path, raw: Path, run: Run) -> None:
    campaign = made(
        tmp_path,
        dataset("ours", raw, '{ train = ["*.npz"] }'),
        PROBE.format(name="ours") + 'split = "train"',
    )
    assert (
        "all events of ours, split 'train', are those that pretrain/m-d4-s1 is trained on (ours, "
        "split 'train'); tested by probe/seen-m-d4-s1"
    ) in refused(campaign, run)


def test_other_splits_of_one_dataset_are_no_overlap(tmp_path: Path, raw: Path, run: Run) -> None:
    splits = '{ train = ["*_000.npz", "*_001.npz"], test = ["*_002.npz"] }'
    campaign = made(tmp_path, dataset("ours", raw, splits), PROBE.format(name="ours"))
    assert found(campaign, run) == []
    staged(campaign, run)
    assert found(campaign, run) == []


def test_two_datasets_of_one_simulation_are_compared_before_it_is_made(
    tmp_path: Path, run: Run
) -> None:
    simulated = """
    [simulations.s]
    experiment = "sphenix"
    format = "npz"
    files = { events = 2 }
    events_per_file = 3
    """
    datasets = [
        f'[datasets.{name}]\nexperiment = "sphenix"\nsimulation = "s"\nneighbours = 3\n{more}'
        for name, more in (("ours", MOSTLY), ("theirs", HALVES))
    ]
    campaign = made(tmp_path, simulated, *datasets, PROBE.format(name="theirs"))
    assert "about 60 % of the events of theirs, split 'test', in 2 files" in refused(campaign, run)


def test_a_validation_is_a_test_too(tmp_path: Path, raw: Path, run: Run) -> None:
    tuned = """
    [finetune.t]
    dataset = "theirs"
    modes = ["frozen", "scratch"]
    labels = [4]
    validation = { split = "test", events = 4 }

    [finetune.t.training]
    events_seen = 8
    batch_events = 4
    learning_rate = 1e-3
    checkpoint_events = 8
    walltime_minutes = 5
    """
    pair = dataset("ours", raw, more=MOSTLY), dataset("theirs", raw, more=HALVES)
    message = refused(made(tmp_path, *pair, tuned), run)
    assert "tested by finetune/t-m-d4-s1-frozen-l4-s1 and 1 more" in message
    assert "scratch" not in message


def test_what_a_tokenizer_was_trained_on_counts(tmp_path: Path, run: Run) -> None:
    declared = load_campaign("jet-models").model_dump(mode="json", exclude_none=True)
    tokenizer = next(name for name, each in declared["tokenizers"].items() if "model" in each)
    declared["datasets"]["many"] |= {
        "simulation": "few",
        "fractions": {"train": 0.8, "test": 0.2},
    }
    campaign = Campaign.model_validate(declared)
    message = refused(campaign, run)
    assert f"tokenize/{tokenizer}" in message
    tokens = [line for line in message.splitlines() if f"that tokenize/{tokenizer} is tr" in line]
    assert len(tokens) == 1
    assert "tested by evaluate/tokens-" in tokens[0]


def exported(folder: Path, data: TrainingData | None) -> Path:
    """Write a folder of weights of the model, with or without a record of their training."""
    folder.mkdir()
    model = FM4NPPMamba2(width=32, layers=2, neighbours=3)
    content = ModelFolder(model=model, weights=StoredWeights(sha256="ab"))
    model_folder.write(folder, content)
    if data is not None:
        training_data.write(folder, data)
    return folder


def with_weights(tmp_path: Path, raw: Path, folder: Path) -> Campaign:
    """A campaign that probes weights from elsewhere on half of the events of `raw`."""
    file = written(tmp_path, dataset("theirs", raw, more=HALVES), PROBE.format(name="theirs"))
    text = file.read_text()
    head, _, rest = text.partition("[pretrain]")
    tail = rest[rest.index("[datasets.theirs]") :]
    model = f'{head}weights = "{folder}"\n'
    file.write_text(f'{model}\n{tail}models = ["m"]\n')
    return load_campaign(str(file))


@pytest.mark.parametrize("elsewhere", [False, True])
def test_weights_of_another_campaign_say_what_they_saw(
    tmp_path: Path, raw: Path, run: Run, elsewhere: bool
) -> None:
    other = Run(tmp_path / "other", "c")
    theirs = made(tmp_path, dataset("ours", raw, more=MOSTLY))
    staged(theirs, other)
    data = of_split(Store.open(other.store("ours")), "train", "pretrain/m")
    if elsewhere:
        shutil.rmtree(other.path)
    folder = exported(tmp_path / "weights", data)
    campaign = with_weights(tmp_path, raw, folder)
    who = f"those that pretrain/m ({folder}) is trained on (ours, split 'train')"
    assert "about 60 % of the events of theirs, split 'test', in 3 files" in refused(campaign, run)
    assert who in refused(campaign, run)
    staged(campaign, run)
    assert f"are among those that pretrain/m ({folder}) was trained on" in refused(campaign, run)


def test_weights_that_say_nothing_are_unknown(tmp_path: Path, raw: Path, run: Run) -> None:
    folder = exported(tmp_path / "weights", None)
    campaign = with_weights(tmp_path, raw, folder)
    none, names = overlaps.check(campaign.tasks(run), run, allow=False)
    assert none == []
    assert names == [str(folder)]


def test_the_record_of_a_training_stands_for_its_store(tmp_path: Path, raw: Path, run: Run) -> None:
    pair = dataset("ours", raw, more=MOSTLY), dataset("theirs", raw, more=HALVES)
    campaign = made(tmp_path, *pair, PROBE.format(name="theirs"))
    staged(campaign, run)
    exact = refused(campaign, run)
    folder = run.task("pretrain/m-d4-s1")
    data = of_split(Store.open(run.store("ours")), "train", "pretrain/m-d4-s1")
    training_data.write(folder.path, data)
    folder.done.write_text("")
    shutil.rmtree(run.store("ours"))
    count = exact.partition(" - ")[2].partition(" events")[0]
    assert f"{count} events of theirs, split 'test', are among those" in refused(campaign, run)


def test_a_training_of_an_older_version_is_refused(tmp_path: Path, raw: Path, run: Run) -> None:
    campaign = made(tmp_path, dataset("ours", raw, more=MOSTLY), PROBE.format(name="ours"))
    folder = run.task("pretrain/m-d4-s1")
    folder.path.mkdir(parents=True)
    folder.declaration.write_text("")
    folder.done.write_text("")
    with pytest.raises(BadInput, match=r"pretrain/m-d4-s1: no training-data\.json: an older"):
        overlaps.check(campaign.tasks(run), run, allow=False)


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_the_verbs_refuse_before_anything_is_written(
    tmp_path: Path, raw: Path, cosmotron: Any, verb: str
) -> None:
    pair = dataset("ours", raw, more=MOSTLY), dataset("theirs", raw, more=HALVES)
    file = written(tmp_path, *pair, PROBE.format(name="theirs"))
    words = ("--site", "local", "--root", tmp_path / "runs")
    told = cosmotron(verb, file, *words, *(["--yes", "--no-check"] if verb == "run" else []))
    assert told.code == Exit.USAGE
    assert "Models are tested on events that they are trained on:" in told.words
    assert "are among those that pretrain/m-d4-s1 is trained on (ours, split 'train')" in told.words
    assert not (tmp_path / "runs" / "c").exists()


def test_the_plan_of_a_campaign_that_allows_it_says_so(
    tmp_path: Path, raw: Path, cosmotron: Any
) -> None:
    pair = dataset("ours", raw, more=MOSTLY), dataset("theirs", raw, more=HALVES)
    file = written(tmp_path, *pair, PROBE.format(name="theirs"), head="allow_overlap = true")
    words = ("plan", file, "--site", "local", "--root", tmp_path / "runs")
    told = cosmotron(*words)
    assert told.code == 0, told.err
    assert (
        "Allowed by allow_overlap: about 60 % of the events of theirs, split 'test'" in told.words
    )
    (line,) = json.loads(cosmotron(*words, "--json").out)["tested_on_training_data"]
    assert line.endswith("tested by probe/seen-m-d4-s1.")


def test_the_plan_names_weights_of_which_nothing_is_known(
    tmp_path: Path, raw: Path, cosmotron: Any
) -> None:
    folder = exported(tmp_path / "weights", None)
    with_weights(tmp_path, raw, folder)
    told = cosmotron("plan", tmp_path / "c.toml", "--site", "local", "--root", tmp_path / "runs")
    assert told.code == 0, told.err
    assert f"What the weights in {folder} were trained on is not known" in told.words


def test_folders_without_a_declaration_are_no_trainings(tmp_path: Path) -> None:
    assert not TaskFolder(tmp_path).declaration.exists()
    assert training_data.gathered(tmp_path).unknown == (str(tmp_path),)
