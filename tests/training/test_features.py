"""Features of a frozen backbone: kept once, as the backbone would give them, and trained on."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from made_batches import HEAD, MODEL, read_batch, write_store
from made_neutrinos import pulses, small
from ranks import pretraining, result, run, training

from pipeline.campaign import EvaluateTask, FeaturesTask, FinetuneTask, declare
from pipeline.data import training_data
from pipeline.data.errors import BadInput
from pipeline.data.loading import Selection
from pipeline.data.store import Store
from pipeline.families.fm4npp.module import NeighbourPredictor
from pipeline.outcome import Exit
from pipeline.records import Weights
from pipeline.run import TaskFolder
from pipeline.training import loader
from pipeline.training.engine.engine import weights_hash
from pipeline.training.featuring import Featuring
from pipeline.training.network import backbone_of
from pipeline.training.programs.features import BATCH_EVENTS, combined, half
from pipeline.training.programs.finetune import trained
from pipeline.training.weights import WEIGHTS, save


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("data") / "events.zarr", held_back=1)


@pytest.fixture(scope="module")
def pretrained(store, tmp_path_factory):
    """The folder of a pretraining that took no step: its weights are as they were drawn."""
    folder = pretraining(tmp_path_factory.mktemp("pretrained"), store)
    torch.manual_seed(0)
    weights = NeighbourPredictor(MODEL).state_dict()
    folder.finish(Weights(weights_sha256=weights_hash(weights)))
    save(weights, folder.path / WEIGHTS, {})
    training_data.write(folder.path, training_data.TrainingData())
    return folder


def asked(path, store, pretrained, combine="mean"):
    task = FeaturesTask(
        key="features/made",
        model=MODEL,
        backbone=pretrained.path,
        combine=combine,
        source=store,
        store=path / "features.zarr",
    )
    declare(TaskFolder(path / "task"), task)
    return TaskFolder(path / "task"), task


@pytest.fixture(scope="module")
def kept(store, pretrained, tmp_path_factory):
    folder, task = asked(tmp_path_factory.mktemp("features"), store, pretrained)
    assert run(folder, "features", size=1) == Exit.FINISHED, (folder.path / "log.txt").read_text()
    return folder, task


@pytest.mark.slow
def test_what_is_kept_is_what_the_backbone_gives(store, pretrained, kept):
    _, task = kept
    source, made = Store.open(store), Store.open(task.store)
    assert made.manifest.events == source.manifest.events
    model = NeighbourPredictor(MODEL)
    model.load_state_dict(trained(pretrained.path))
    whole = read_batch(Selection(store, "train", MODEL.reads_downstream()))
    with torch.no_grad():
        expected = combined(model.backbone(whole)[1], "mean")
    reads = loader.with_truth(MODEL, HEAD, stored=True)
    batch = read_batch(Selection(task.store, "train", reads))
    torch.testing.assert_close(batch.per_point["features"], expected, rtol=2e-3, atol=2e-3)
    for shard, before in zip(made.shards("val"), source.shards("val"), strict=True):
        arrays, old = shard.read(), before.read()
        assert "neighbours" not in arrays
        assert np.array_equal(arrays["track_id"], old["track_id"])
        assert arrays["features"].dtype == np.float16


@pytest.mark.slow
def test_events_of_no_store_get_the_features_that_a_store_would_have(store, kept):
    _, task = kept
    featuring = Featuring.load(task, Store.open(store), torch.device("cpu"))
    events = Selection(store, "train", MODEL.reads_downstream()).load()
    made = featuring.featured(events, Store.open(store).manifest.columns, BATCH_EVENTS)
    stored = [
        each.read(("features",))["features"] for each in Store.open(task.store).shards("train")
    ]
    assert np.array_equal(made.per_point["features"], np.concatenate(stored))


@pytest.mark.slow
def test_shards_that_are_whole_are_not_made_again(kept):
    folder, task = kept
    shards = {path: path.stat().st_mtime_ns for path in task.store.glob("*/*/zarr.json")}
    assert len(shards) == 2
    folder.done.unlink()
    damaged = next(iter(task.store.glob("train/00000/features/c/*/*")))
    damaged.write_bytes(b"")
    assert run(folder, "features", size=1) == Exit.FINISHED
    again = {path: path.stat().st_mtime_ns for path in task.store.glob("*/*/zarr.json")}
    changed = [path for path in shards if again[path] != shards[path]]
    assert [path.parent.parent.name for path in changed] == ["train"]
    Store.open(task.store).verify()


@pytest.mark.slow
def test_a_head_is_trained_and_evaluated_on_the_store_alone(kept, pretrained, tmp_path):
    _, task = kept
    tuning = FinetuneTask(
        key="finetune/made",
        seed=5,
        mode="frozen",
        model=MODEL,
        head=HEAD,
        cached=True,
        backbone=pretrained.path,
        store=task.store,
        split="train",
        labels=8,
        training=training(events_seen=16, devices=1),
    )
    folder = TaskFolder(tmp_path / "fine")
    declare(folder, tuning)
    assert run(folder, "finetune", size=1) == Exit.FINISHED, (folder.path / "log.txt").read_text()
    told = TaskFolder(tmp_path / "told")
    declare(
        told,
        EvaluateTask(
            key="evaluate/x", seed=1, finetuned=folder.path, store=task.store, split="val"
        ),
    )
    assert run(told, "evaluate", size=1) == Exit.FINISHED, (told.path / "log.txt").read_text()
    assert 0 <= result(told)["scores"]["track_efficiency"] <= 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 70_000.0])
def test_features_that_half_precision_cannot_hold_are_refused(value):
    values, ids = torch.full((3, 2), 65_504.0), torch.tensor([4, 9])
    np.testing.assert_array_equal(half(values, ids), values)
    values[1, 1] = value
    with pytest.raises(BadInput, match="features of events 4 to 9 are no numbers"):
        half(values, ids)


def test_backbones_say_whether_they_have_a_token_of_the_event():
    _, look = backbone_of(small(), None)
    assert (look(pulses([4, 5])).events is not None) == small().EVENT_TOKEN
