"""A trained model as a folder for others: its card's own code loads it, or nothing is written."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import yaml
from hub_server import hub
from whole_campaign import TINY

import cosmotron as door
from pipeline.campaign import load_campaign
from pipeline.catalog import DeclarationError
from pipeline.data.errors import BadInput
from pipeline.records import Weights
from pipeline.release.export import ExportError, export
from pipeline.run import Run
from pipeline.writing import read_json

PRETRAINED, TUNED = "pretrain/m-d24-s1", "finetune/tracking-m-d24-s1-full-l8-s1"
ROOT = Path(__file__).parents[2]
FILES = ["README.md", "bins.json", "config.toml", "training-data.json", "weights.safetensors"]


@pytest.fixture
def campaign():
    return load_campaign(str(TINY))


@pytest.fixture(scope="module")
def exported(uninterrupted, tmp_path_factory):
    """Two models of a run: the folders of what was exported, by key."""
    pytest.importorskip("deepspeed")
    to, run = tmp_path_factory.mktemp("exported"), Run(uninterrupted, "tiny")
    return {
        key: export(load_campaign(str(TINY)), run, key, to / str(number))
        for number, key in enumerate((PRETRAINED, TUNED))
    }


def result(root, key):
    return read_json(Run(root, "tiny").task(key).result)


def card_of(folder):
    """The head of a card, as the hub reads it, and its text."""
    _, head, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(head), text


@pytest.mark.slow
@pytest.mark.parametrize("key", [PRETRAINED, TUNED])
def test_the_code_on_the_card_runs(exported, uninterrupted, tmp_path, key):
    _, text = card_of(exported[key])
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (file, *_) = (uninterrupted / "tiny/simulate/collisions/files/train").glob("*.npz")
    shutil.copyfile(file, tmp_path / "events.npz")
    for each in exported[key].iterdir():
        shutil.copyfile(each, tmp_path / each.name)
    code += "\nassert states.shape == (12, 32)"
    code += "\nassert len(predictions.track) == 12" if key == TUNED else ""
    code += "\nfrom pipeline.training.engine.engine import weights_hash"
    code += "\nprint(weights_hash(module.state_dict()))"
    code += "\nprint(sum(each.numel() for each in module.parameters()))"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = result(uninterrupted, key)
    assert ended.stdout.split()[-2:] == [told["weights_sha256"], str(told["parameters"])]


@pytest.mark.slow
def test_the_folder_holds_its_files_and_says_what_the_model_is(exported, uninterrupted):
    folder = exported[PRETRAINED]
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert tomllib.loads((folder / "config.toml").read_text())["model"]["width"] == 32
    head, text = card_of(folder)
    assert (head["license"], head["library_name"]) == ("other", "cosmotron")
    assert {"physics", "sphenix", "fm4npp-mamba2"} <= set(head["tags"])
    told = result(uninterrupted, PRETRAINED)
    store = read_json(uninterrupted / "tiny/data/unlabelled.zarr/manifest.json")
    for words in (
        told["weights_sha256"],
        f"{told['parameters']:,}, of which {told['parameters_trained']:,} trained",
        "24 of split `train`, which holds 24",
        "| energy | ADC |",
        store["columns"][0]["provenance"],
        "48 in 12 steps of 4",
        "adamw, betas 0.9 and 0.95",
        "1 × neighbours",
        f"{told['loss']:.5g}",
        "node-hours charged at local",
        "torch 2",
    ):
        assert words in text


@pytest.mark.slow
def test_nothing_is_written_over_files_unless_forced(exported, uninterrupted, campaign, tmp_path):
    (tmp_path / "mine.txt").touch()
    run = Run(uninterrupted, "tiny")
    with pytest.raises(ExportError, match=r"not empty. Name another folder, or replace .* --force"):
        export(campaign, run, PRETRAINED, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    export(campaign, run, PRETRAINED, tmp_path, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


@pytest.mark.slow
def test_a_graph_of_onnx_is_held_to_the_model(exported, uninterrupted, tmp_path, cosmotron):
    runtime = pytest.importorskip("onnxruntime")
    store, graph = uninterrupted / "tiny/data/unlabelled.zarr", tmp_path / "model.onnx"
    folder = exported[PRETRAINED]
    told = cosmotron("weights", "onnx", folder, store, "--split", "train", "--to", graph)
    assert told.code == 0, told.words
    assert "takes points (P, 4); gives states, event_state. Held to the model on 24" in told.words
    session = runtime.InferenceSession(str(graph))
    about = json.loads(session.get_modelmeta().custom_metadata_map["cosmotron"])
    assert about["columns"][0] == {"name": "energy", "unit": "ADC"}
    read = [each["name"] for each in about["columns"]]
    events, states = door.open_store(store)["train"], door.load(folder).embed(store, "train")
    for event, true in zip(events, states, strict=True):
        points = np.stack([np.asarray(event.points[name]) for name in read], 1)
        (found,) = session.run(["event_state"], {"points": points.astype(np.float32)})
        np.testing.assert_allclose(found[0], true, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_graph_that_does_something_else_is_not_written(
    exported, uninterrupted, tmp_path, monkeypatch
):
    pytest.importorskip("onnxruntime")
    from pipeline.training import onnx_graph
    from pipeline.training.programs import to_onnx

    store, to = uninterrupted / "tiny/data/unlabelled.zarr", tmp_path / "model.onnx"
    monkeypatch.setattr(to_onnx, "export", lambda *_: ("states",))
    for difference in (1.0, math.nan):
        monkeypatch.setattr(
            to_onnx, "compared", lambda *_, d=difference: onnx_graph.Compared((3, 9), d)
        )
        with pytest.raises(BadInput, match=r"not written. .* on events of 3 to 9 points"):
            to_onnx.write(exported[PRETRAINED], store, to, "train", None)
        assert not to.exists()


def test_a_graph_without_events_or_without_its_packages(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from pipeline.training.programs import to_onnx

    with pytest.raises(BadInput, match=r"x.root: not there. Give a store, or a file"):
        to_onnx.write(tmp_path, tmp_path / "x.root", tmp_path / "m.onnx", "test", None)
    (tmp_path / "mine.onnx").write_text("mine")
    with pytest.raises(BadInput, match=r"mine.onnx: is there already. Name another file"):
        to_onnx.write(tmp_path, tmp_path, tmp_path / "mine.onnx", "test", None)
    assert (tmp_path / "mine.onnx").read_text() == "mine"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BadInput, match=r"onnxruntime is not installed. Type: pip install '.*onnx"):
        to_onnx.write(tmp_path, tmp_path / "x.root", tmp_path / "m.onnx", "test", None)


def test_a_training_that_is_not_done_is_refused(campaign, tmp_path):
    with pytest.raises(ExportError, match=r"m-d24-s1: not done, so there is nothing to export"):
        export(campaign, Run(tmp_path, "tiny"), PRETRAINED, tmp_path / "to")


def test_a_task_that_trains_nothing_is_corrected(campaign, tmp_path):
    run = Run(tmp_path, "tiny")
    with pytest.raises(DeclarationError, match=f"Did you mean '{PRETRAINED}'"):
        export(campaign, run, "pretrain/m-d42-s1", tmp_path / "to")
    with pytest.raises(DeclarationError, match=r"No training 'x'.*Known: pretrain/"):
        export(campaign, run, "x", tmp_path / "to")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not there. Remove"),
        (b"\2\0\0\0\0\0\0\0{}", "not the weights that .*result.json"),
        (b"\x09\0\0\0\0\0\0\0{", f"{PRETRAINED}/weights.safetensors: no whole safetensors file"),
    ],
)
def test_weights_that_are_gone_or_others_leave_nothing_behind(campaign, tmp_path, content, message):
    folder = Run(tmp_path / "runs", "tiny").task(PRETRAINED)
    folder.finish(Weights(weights_sha256="0" * 64))
    if content is not None:
        (folder.path / "weights.safetensors").write_bytes(content)
    with pytest.raises(ExportError, match=message):
        export(campaign, Run(tmp_path / "runs", "tiny"), PRETRAINED, tmp_path / "to")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.slow
def test_the_hub_takes_the_folder_and_what_it_gives_back_predicts(
    uninterrupted, campaign, exported, tmp_path
):
    import cosmotron

    folder = export(
        campaign, Run(uninterrupted, "tiny"), TUNED, tmp_path / "to", licence="mit", hub=True
    )
    assert {"config.json", "model.safetensors"} <= {path.name for path in folder.iterdir()}
    with hub() as server:
        environment = {
            **os.environ,
            "HF_ENDPOINT": server.address,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_TOKEN": "hf_none",
        }
        for program in (
            ["-m", "huggingface_hub.cli.hf", "upload", "team/model", str(folder)],
            ["-c", "from huggingface_hub import *; print(snapshot_download('team/model'))"],
        ):
            ended = subprocess.run(
                [sys.executable, *program],
                check=False,
                env=environment,
                capture_output=True,
                text=True,
            )
            assert ended.returncode == 0, ended.stderr
        assert server.problems == []
    snapshot = Path(ended.stdout.split()[-1])
    assert (snapshot / "model.safetensors").is_symlink()
    store = uninterrupted / "tiny/data/labelled.zarr"
    ours, theirs = (cosmotron.load(each).predict(store) for each in (exported[TUNED], snapshot))
    assert ours.tolist() == theirs.tolist()


@pytest.mark.slow
def test_the_hub_reads_the_scores_of_a_model_on_its_card(exported, uninterrupted):
    card = huggingface_hub.ModelCard.load(exported[TUNED] / "README.md")
    (first, *_) = card.data.eval_results
    told = result(uninterrupted, "evaluate/tracking-m-d24-s1-full-l8-s1")
    assert (first.metric_type, first.metric_value) == ("ari", told["scores"]["ari"])
    assert (first.task_type, first.dataset_type, first.dataset_split) == (
        "tracks",
        "sphenix",
        "test",
    )
    assert (
        huggingface_hub.ModelCard.load(exported[PRETRAINED] / "README.md").data.license == "other"
    )
