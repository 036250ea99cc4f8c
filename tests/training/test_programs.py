"""How the training programs end: every end has its exit code, and says why."""

import json
import os
import subprocess
import sys
import time

import pytest

pytest.importorskip("deepspeed")

import torch
from made_batches import write_store
from ranks import Ranks, finetuning, pretraining, result, run, steps

from pipeline.campaign import EvaluateTask, declare
from pipeline.run import Exit, TaskFolder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("stores") / "made.zarr")


@pytest.fixture(scope="module")
def pretrained(store, tmp_path_factory):
    folder = pretraining(tmp_path_factory.mktemp("pretrained"), store, events_seen=16)
    assert run(folder) == Exit.FINISHED
    return folder


def test_the_result_says_what_was_trained_and_with_what(pretrained):
    told = result(pretrained)
    assert told["outcome"] == "finished"
    assert (told["events_seen"], told["steps"], told["events"]) == (16, 4, 24)
    assert (told["processes"], told["device"]) == (2, "cpu")
    assert told["parameters"] - told["parameters_trained"] == 64 * 32
    assert json.loads(pretrained.progress.read_text())["done"] == 16
    lines = [json.loads(line) for line in pretrained.metrics.read_text().splitlines()]
    assert {"loss", "neighbours", "grad_norm", "lr", "seconds", "data_seconds"} <= set(lines[0])
    assert lines[-1]["loss"] == told["loss"]


def test_what_is_done_is_left_alone_and_at_once(pretrained):
    before = pretrained.result.stat().st_mtime_ns
    began = time.monotonic()
    assert run(pretrained, size=1) == Exit.FINISHED
    assert time.monotonic() - began < 15
    assert pretrained.result.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_it(store, tmp_path):
    folder = pretraining(tmp_path, store, learning_rate=1e30, warmup_events=0)
    assert run(folder) == Exit.NOT_A_NUMBER
    told = result(folder)
    assert told["outcome"] == "not_a_number"
    assert "Lower the rate or clip_norm; this is not retried." in told["message"]
    assert "learning rate 9.99e+29" in told["message"]
    assert not folder.is_done


def test_a_loss_that_is_no_number_ends_fine_tuning_likewise(store, tmp_path):
    folder = finetuning(tmp_path, store, learning_rate=1e30, devices=1)
    assert run(folder, "finetune", size=1) == Exit.NOT_A_NUMBER
    assert result(folder)["outcome"] == "not_a_number"


def test_a_store_that_is_not_there_is_bad_input(tmp_path):
    folder = pretraining(tmp_path, tmp_path / "none.zarr")
    assert run(folder) == Exit.BAD_INPUT
    told = result(folder)
    assert told["outcome"] == "bad_input"
    assert "no store here" in told["message"]


def test_a_task_folder_that_is_none_is_bad_input(tmp_path):
    folder = TaskFolder(tmp_path)
    assert run(folder, size=1) == Exit.BAD_INPUT
    assert "task.toml: cannot be read" in result(folder)["message"]


def test_two_links_never_train_the_same_task(store, tmp_path):
    folder = pretraining(tmp_path, store, devices=1, events_seen=4000)
    first = Ranks(folder, size=1)
    first.wait_for_step(1)
    second = subprocess.run(
        [sys.executable, "-m", "pipeline.training.pretrain", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    first.send(9)
    first.end()
    assert second.returncode == Exit.BUSY
    assert f"process {first.processes[0].pid}" in second.stderr
    assert not folder.result.exists(), "the one at work would look failed"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(store, tmp_path):
    folder = pretraining(tmp_path, store, devices=1)
    tmp_path.chmod(0o500)
    assert run(folder, size=1) == Exit.CANNOT_WRITE


@pytest.fixture(scope="module")
def tuned(store, pretrained, tmp_path_factory):
    """Fine-tuned models, one for each mode that starts from the pretrained backbone."""
    folders = {}
    for mode in ("frozen", "full"):
        folder = finetuning(
            tmp_path_factory.mktemp(mode), store, mode=mode, backbone=pretrained.path, devices=1
        )
        assert run(folder, "finetune", size=1) == Exit.FINISHED
        folders[mode] = folder
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["frozen", "full"])
def test_fine_tuning_starts_from_the_pretrained_backbone(pretrained, tuned, mode):
    before = torch.load(pretrained.path / "weights.pt", weights_only=True)
    after = torch.load(tuned[mode].path / "weights.pt", weights_only=True)
    names = [name for name in before if name.startswith("backbone.layers")]
    kept = [torch.equal(before[name], after[name]) for name in names]
    assert all(kept) if mode == "frozen" else not any(kept)


def test_weights_that_its_result_does_not_speak_of_are_refused(store, pretrained, tmp_path):
    copied = TaskFolder(tmp_path / "copied")
    copied.path.mkdir()
    weights = torch.load(pretrained.path / "weights.pt", weights_only=True)
    weights["norm.weight"] += 1
    torch.save(weights, copied.path / "weights.pt")
    copied.result.write_bytes(pretrained.result.read_bytes())
    folder = finetuning(tmp_path / "fine", store, mode="full", backbone=copied.path, devices=1)
    assert run(folder, "finetune", size=1) == Exit.BUSY
    assert "not the weights that" in result(folder)["message"]


def test_a_backbone_that_is_not_trained_yet_is_refused(store, tmp_path):
    folder = finetuning(tmp_path, store, mode="full", backbone=tmp_path / "none", devices=1)
    assert run(folder, "finetune", size=1) == Exit.BUSY
    assert "no trained weights here. Finish that training first." in result(folder)["message"]


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
    assert (tmp_path / "events.npz").is_file()


def test_steps_are_numbered_from_one(pretrained):
    assert steps(pretrained) == [1, 2, 3, 4]
