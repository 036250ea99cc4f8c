"""Programs that test refuse events that the model was trained on; a campaign may allow it."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from made_batches import MODEL
from ranks import finetuning, pretraining, result, run

from pipeline import records
from pipeline.campaign import (
    Dataset,
    EvaluateTask,
    FeaturesTask,
    ProbeTask,
    StageTask,
    Validation,
    declare,
)
from pipeline.data import training_data
from pipeline.data.particles import LABELS
from pipeline.data.program import run as run_program
from pipeline.data.readers.sphenix_npz import LABEL_FILES, label_path
from pipeline.data.stage import STAGE
from pipeline.data.store import Store
from pipeline.data.training_data import RECORD, TrainingData
from pipeline.outcome import Exit
from pipeline.records import Evaluated, Probed
from pipeline.run import TaskFolder

SHORT = {"events_seen": 8, "devices": 1, "checkpoint_events": 8}


def staged(folder, sources, name, **fractions):
    """Stage labelled files into a store, dealt by these fractions."""
    task = StageTask(
        key=f"stage/{name}",
        dataset=Dataset(
            experiment="sphenix", simulation="x", neighbours=3, bins=(2, 2, 3), fractions=fractions
        ),
        sources={"all": tuple(map(str, sources))},
        store=folder / f"{name}.zarr",
        bins_store=folder / f"{name}.zarr",
    )
    declare(TaskFolder(folder / name), task)
    for step in ("--begin", "--part 0", "--finish"):
        assert run_program(STAGE, [str(folder / name), *step.split()]) == 0
    return task.store


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Two stores of the same file, dealt differently."""
    folder = tmp_path_factory.mktemp("stores")
    path, rng = folder / "spacepoints_0.npz", np.random.default_rng(0)
    sizes = np.full(60, 12)
    points = rng.uniform(20, 50, (sizes.sum(), 4)).astype(np.float32)
    np.savez(path, data=points, size=sizes)
    for name in LABEL_FILES:
        np.savez(label_path(path, name), data=rng.integers(0, 2, sizes.sum()).astype(LABELS[name]))
    return (
        staged(folder, [path], "mostly", train=0.8, test=0.2),
        staged(folder, [path], "halves", train=0.5, test=0.5),
    )


@pytest.fixture(scope="module")
def pretrained(stores, tmp_path_factory):
    folder = pretraining(tmp_path_factory.mktemp("pretrained") / "a", stores[0], **SHORT)
    assert run(folder, size=1) == Exit.FINISHED, (folder.path / "log.txt").read_text()
    return folder


def in_run(path, stage, task, *, allow):
    """Return the folder of a task in a run folder, whose campaign may allow an overlap."""
    if allow is not None:
        path.mkdir(parents=True, exist_ok=True)
        (path / "campaign.toml").write_text(f'name = "c"\nallow_overlap = {str(allow).lower()}\n')
    folder = TaskFolder(path / stage / "made")
    declare(folder, task)
    return folder


def of_probe(pretrained, store, split="test"):
    return ProbeTask(key="probe/made", seed=1, pretrained=pretrained.path, store=store, split=split)


def shared(one, split, other, other_split):
    """Return how many events are in both splits."""
    ids = [
        {each for shard in Store.open(store).shards(name) for each in shard.read()["event_id"]}
        for store, name in ((one, split), (other, other_split))
    ]
    return len(ids[0] & ids[1])


def test_a_training_records_what_it_was_trained_on(stores, pretrained):
    data = records.read(pretrained.path / RECORD, TrainingData)
    (events,) = data.events
    assert (events.task, events.split) == ("pretrain/made", "train")
    assert events.fractions == {"train": 0.8, "test": 0.2}
    (file,) = Store.open(stores[0]).manifest.source_files
    assert events.files == (file,)


@pytest.mark.slow
def test_a_probe_of_unseen_events_is_free_of_remarks(stores, pretrained, tmp_path):
    folder = in_run(tmp_path, "probe", of_probe(pretrained, stores[0]), allow=None)
    assert run(folder, "probe", size=1) == Exit.FINISHED
    told = records.read(folder.result, Probed)
    assert (told.overlap, told.unknown_training) == ((), ())


@pytest.mark.slow
@pytest.mark.parametrize("allow", [None, False])
def test_a_probe_of_events_that_were_trained_on_is_refused(stores, pretrained, tmp_path, allow):
    folder = in_run(tmp_path, "probe", of_probe(pretrained, stores[1]), allow=allow)
    assert run(folder, "probe", size=1) == Exit.BAD_INPUT
    count, total = (
        shared(stores[0], "train", stores[1], "test"),
        Store.open(stores[1]).events("test"),
    )
    assert 0 < count < total
    assert (
        f"{count} of {total} events of halves, split 'test', are among those that pretrain/made "
        "was trained on (mostly, split 'train'), in "
    ) in result(folder)["message"]
    assert "or write allow_overlap = true in the campaign" in result(folder)["message"]


@pytest.mark.slow
def test_a_campaign_may_allow_it_and_the_result_says_so(stores, pretrained, tmp_path):
    folder = in_run(tmp_path, "probe", of_probe(pretrained, stores[1]), allow=True)
    assert run(folder, "probe", size=1) == Exit.FINISHED, (folder.path / "log.txt").read_text()
    (found,) = records.read(folder.result, Probed).overlap
    assert found.events == shared(stores[0], "train", stores[1], "test")


@pytest.mark.slow
def test_an_evaluation_looks_at_the_pretraining_too(stores, pretrained, tmp_path):
    fine = finetuning(
        tmp_path / "fine", stores[1], mode="frozen", backbone=pretrained.path, **SHORT
    )
    assert run(fine, "finetune", size=1) == Exit.FINISHED, (fine.path / "log.txt").read_text()
    task = EvaluateTask(
        key="evaluate/made", seed=1, finetuned=fine.path, store=stores[1], split="test"
    )
    refused = in_run(tmp_path / "a", "evaluate", task, allow=None)
    assert run(refused, "evaluate", size=1) == Exit.BAD_INPUT
    assert "that pretrain/made was trained on" in result(refused)["message"]
    assert "that finetune/made was trained on" not in result(refused)["message"]
    allowed = in_run(tmp_path / "b", "evaluate", task, allow=True)
    assert run(allowed, "evaluate", size=1) == Exit.FINISHED
    assert len(records.read(allowed.result, Evaluated).overlap) == 1


@pytest.mark.slow
def test_a_validation_on_what_the_weights_saw_is_refused(stores, pretrained, tmp_path):
    validation = Validation(split="test", events=4)
    words = {"mode": "frozen", "backbone": pretrained.path, "validation": validation}
    folder = finetuning(tmp_path / "fine", stores[1], **words, **SHORT)
    assert run(folder, "finetune", size=1) == Exit.BAD_INPUT
    assert "events of halves, split 'test', are among those" in result(folder)["message"]
    fine = finetuning(tmp_path / "other", stores[0], **words, **SHORT)
    assert run(fine, "finetune", size=1) == Exit.FINISHED, (fine.path / "log.txt").read_text()


@pytest.mark.slow
def test_features_say_what_the_backbone_that_made_them_saw(stores, pretrained, tmp_path):
    task = FeaturesTask(
        key="features/made",
        model=MODEL.model_copy(update={"dropout": 0.1}),
        backbone=pretrained.path,
        combine="mean",
        source=stores[1],
        store=tmp_path / "features.zarr",
    )
    folder = in_run(tmp_path, "features", task, allow=None)
    assert run(folder, "features", size=1) == Exit.FINISHED, (folder.path / "log.txt").read_text()
    made = Store.open(task.store)
    assert made.manifest.sources == Store.open(stores[1]).manifest.sources
    (found,) = training_data.overlaps(training_data.gathered(task.store), made, "test")
    assert found.task == "pretrain/made"
    assert found.events == shared(stores[0], "train", stores[1], "test")


def test_weights_of_an_older_version_are_refused_before_they_are_trained_on(
    stores, pretrained, tmp_path
):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "task.toml").write_bytes(pretrained.declaration.read_bytes())
    folder = finetuning(tmp_path / "f", stores[0], mode="full", backbone=tmp_path / "old", **SHORT)
    assert run(folder, "finetune", size=1) == Exit.BAD_INPUT
    assert "no training-data.json: an older version trained it" in result(folder)["message"]
