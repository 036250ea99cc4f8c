"""How the training programs end: every end has its exit code, and says why."""

import json
import os
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from made_batches import MODEL
from ranks import finetuning, pretraining, result, run

from pipeline.campaign import EvaluateTask, FinetuneTask, PretrainTask, ProbeTask, declare, stored
from pipeline.claims import claimed
from pipeline.data import training_data
from pipeline.data.errors import BadInput
from pipeline.families.fm4npp.module import NeighbourPredictor
from pipeline.outcome import Exit, RunError
from pipeline.records import Trained, Weights
from pipeline.run import TaskFolder
from pipeline.training.engine.engine import weights_hash
from pipeline.training.programs import program
from pipeline.training.programs.finetune import build, trained
from pipeline.training.programs.pretrain import pretrain
from pipeline.training.weights import WEIGHTS, load, save


@pytest.mark.slow
def test_the_result_says_what_was_trained_and_with_what(undisturbed):
    told = result(undisturbed)
    assert told["outcome"] == "finished"
    assert (told["events_seen"], told["steps"], told["events"]) == (240, 60, 24)
    assert (told["processes"], told["device"], told["extra"]["kernels"]) == (2, "cpu", "torch")
    assert told["parameters"] - told["parameters_trained"] == 64 * 32
    assert json.loads(undisturbed.progress.read_text())["done"] == 240
    lines = [json.loads(line) for line in undisturbed.metrics.read_text().splitlines()]
    assert {"loss", "neighbours", "grad_norm", "lr", "seconds", "data_seconds"} <= set(lines[0])
    assert lines[-1]["loss"] == told["loss"]
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_what_is_done_is_left_alone_and_at_once(tmp_path):
    folder = TaskFolder(tmp_path)
    folder.finish(Trained(loss=1.0))
    before = result(folder)
    began = time.monotonic()
    assert program.start(pretrain, PretrainTask, [str(tmp_path)]) == Exit.FINISHED
    assert time.monotonic() - began < 1
    assert result(folder) == before


def test_a_store_that_is_not_there_is_bad_input(tmp_path):
    folder = pretraining(tmp_path, tmp_path / "none.zarr")
    assert run(folder) == Exit.BAD_INPUT
    told = result(folder)
    assert told["outcome"] == "bad_input"
    assert "no store here" in told["message"]


def test_a_task_folder_that_is_none_is_a_mistake_in_use(tmp_path):
    assert run(TaskFolder(tmp_path), size=1) == Exit.USAGE
    assert "task.toml: cannot be read" in result(TaskFolder(tmp_path))["message"]


def test_two_links_never_train_the_same_task(store, tmp_path):
    folder = pretraining(tmp_path, store)
    with claimed(folder.claim):
        assert run(folder, size=1) == Exit.BUSY
    assert f"process {os.getpid()} on" in (tmp_path / "log.txt").read_text()
    assert not folder.result.exists(), "the one at work would look failed"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(store, tmp_path):
    folder = pretraining(tmp_path, store, devices=1)
    tmp_path.chmod(0o500)
    assert run(folder, size=1) == Exit.CANNOT_WRITE


@pytest.fixture(scope="module")
def tuned(store, undisturbed, tmp_path_factory):
    """Fine-tuned models, one for each mode that starts from the pretrained backbone."""
    folders = {}
    for mode in ("frozen", "full"):
        folder = finetuning(
            tmp_path_factory.mktemp(mode), store, mode=mode, backbone=undisturbed.path, devices=1
        )
        assert run(folder, "finetune", size=1) == Exit.FINISHED
        folders[mode] = folder
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["frozen", "full"])
def test_fine_tuning_starts_from_the_pretrained_backbone(undisturbed, tuned, mode):
    before = load(undisturbed.path / WEIGHTS)
    after = load(tuned[mode].path / WEIGHTS)
    names = [name for name in before if name.startswith("backbone.layers")]
    kept = [torch.equal(before[name], after[name]) for name in names]
    assert all(kept) if mode == "frozen" else not any(kept)


def model_of(folder):
    return build(stored.read(folder, FinetuneTask))


def test_weights_that_its_result_does_not_speak_of_are_refused(store, tmp_path):
    other = pretraining(tmp_path / "other", store)
    other.finish(Weights(weights_sha256="0" * 64))
    save(NeighbourPredictor(MODEL).state_dict(), other.path / WEIGHTS, {})
    folder = finetuning(tmp_path / "fine", store, mode="full", backbone=other.path)
    with pytest.raises(RunError, match=r"weights.safetensors: not the .* that .*result.json"):
        model_of(folder)


def test_weights_of_another_size_are_refused(store, tmp_path):
    other = pretraining(tmp_path / "other", store)
    other.finish(Weights(weights_sha256="0" * 64))
    save({}, other.path / WEIGHTS, {})
    wider = MODEL.model_copy(update={"width": 64, "layers": 3})
    with pytest.raises(BadInput, match="of width 32, layers 2; this one is of width 64, layers 3"):
        trained(other.path, wider)


def test_a_backbone_that_is_not_trained_yet_is_refused(store, tmp_path):
    folder = finetuning(tmp_path / "fine", store, mode="full", backbone=tmp_path / "none")
    with pytest.raises(RunError, match=r"no trained weights here. Finish that training first."):
        model_of(folder)


def test_the_head_starts_the_same_in_every_mode(store, tmp_path):
    other = pretraining(tmp_path / "other", store)
    weights = NeighbourPredictor(MODEL).state_dict()
    other.finish(Weights(weights_sha256=weights_hash(weights)))
    save(weights, other.path / WEIGHTS, {})
    folders = {
        mode: finetuning(
            tmp_path / mode, store, mode=mode, backbone=None if mode == "scratch" else other.path
        )
        for mode in ("frozen", "full", "scratch")
    }
    heads = {
        mode: weights_hash(
            {n: v for n, v in model_of(f).state_dict().items() if not n.startswith("backbone")}
        )
        for mode, f in folders.items()
    }
    assert len(set(heads.values())) == 1


@pytest.mark.slow
def test_evaluation_scores_every_event_and_tells_the_configuration(store, tuned, tmp_path):
    task = EvaluateTask(
        key="evaluate/made", seed=1, finetuned=tuned["full"].path, store=store, split="train"
    )
    folder = TaskFolder(tmp_path)
    declare(folder, task)
    assert run(folder, "evaluate", size=1) == Exit.FINISHED
    told = result(folder)
    assert told["events"] == 24
    assert (told["mode"], told["labels"], told["width"]) == ("full", 16, 32)
    assert told["weights_sha256"] == result(tuned["full"])["weights_sha256"]
    shown, kept = np.load(folder.events), pq.read_table(folder.predictions).to_pydict()
    for name, column in (("event_id", "event_id"), ("source", "file"), ("entry", "entry")):
        assert shown[name].tolist() == kept[column][: len(shown[name])], name


@pytest.mark.slow
def test_a_probe_tells_the_held_out_losses_and_their_intervals(store, undisturbed, tmp_path):
    task = ProbeTask(
        key="probe/made", seed=1, pretrained=undisturbed.path, store=store, split="train"
    )
    declare(TaskFolder(tmp_path), task)
    assert run(TaskFolder(tmp_path), "probe", size=1) == Exit.FINISHED
    told = result(TaskFolder(tmp_path))
    assert (told["events"], told["family"]) == (24, "fm4npp-mamba2")
    low, high = told["intervals"]["neighbours"]
    assert low <= told["losses"]["neighbours"] <= high
    assert told["losses"]["loss"] == told["losses"]["neighbours"]
    assert json.loads((tmp_path / "pictures.json").read_text())["histograms"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["lora", "head"])
def test_the_other_modes_end_and_are_evaluated_too(store, undisturbed, tmp_path, mode):
    backbone = undisturbed.path if mode == "lora" else None
    folder = finetuning(tmp_path / "fine", store, mode=mode, backbone=backbone, devices=1)
    assert run(folder, "finetune", size=1) == Exit.FINISHED, (folder.path / "log.txt").read_text()
    task = EvaluateTask(key="evaluate/x", seed=1, finetuned=folder.path, store=store, split="train")
    declare(TaskFolder(tmp_path / "told"), task)
    assert run(TaskFolder(tmp_path / "told"), "evaluate", size=1) == Exit.FINISHED
    assert result(TaskFolder(tmp_path / "told"))["mode"] == mode


@pytest.mark.slow
def test_predictions_that_are_no_numbers_are_told_by_name(store, tmp_path):
    folder = finetuning(tmp_path / "fine", store, mode="scratch")
    weights = model_of(folder).state_dict()
    weights["head.classify.0.weight"][:] = torch.nan
    training_data.write(folder.path, training_data.TrainingData())
    folder.finish(Weights(weights_sha256=weights_hash(weights)))
    save(weights, folder.path / WEIGHTS, {})
    task = EvaluateTask(key="evaluate/x", seed=1, finetuned=folder.path, store=store, split="train")
    declare(TaskFolder(tmp_path / "told"), task)
    assert run(TaskFolder(tmp_path / "told"), "evaluate", size=1) == Exit.BAD_INPUT
    message = result(TaskFolder(tmp_path / "told"))["message"]
    assert "is not finite for events 1000 to 1007" in message
