"""The door for notebooks: light, small, and as its documentation says."""

import ast
import doctest
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import awkward
import numpy as np
import pytest
from made_predictions import EVENTS, SHARDS, finetuned, jet_store
from whole_campaign import TINY

import cosmotron
from cosmotron import runs, stores
from pipeline.campaign import load_campaign, model_folder
from pipeline.campaign.model_folder import ModelFolder, StoredWeights
from pipeline.catalog import DeclarationError
from pipeline.data.errors import BadInput
from pipeline.outcome import RunError
from pipeline.records import Weights
from pipeline.run import Run as Folder

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "cosmotron").glob("*.py"))
HEAVY = ("torch", "pandas", "awkward", "numpy", "pyarrow", "matplotlib")
PUBLISHED = Path(__file__).parent / "golden/published/particlenet_small/weights.safetensors"
OWN_MODEL = Path(__file__).parent / "additions/own/my_model.py"
TUNED = "finetune/tracking-m-d24-s1-full-l8-s1"


def public(modules):
    """Yield the public functions, classes and methods of `modules` by name."""
    for module in modules:
        for name, each in vars(module).items():
            if name.startswith("_") or inspect.getmodule(each) is not module:
                continue
            yield name, each
            if inspect.isclass(each):
                for method, function in vars(each).items():
                    if not method.startswith("_") or method == "__getitem__":
                        yield f"{name}.{method}", function


def test_it_is_imported_in_no_time_and_brings_nothing_heavy():
    code = (
        "import time; began = time.process_time(); import cosmotron, sys; "
        "print(time.process_time() - began, [m for m in sys.modules if m in sys.argv[1:]])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True, cwd=ROOT
    )
    seconds, loaded = ended.stdout.split(maxsplit=1)
    assert float(seconds) < 0.3
    assert loaded.strip() == "[]"


def test_a_run_is_opened_without_torch():
    code = "import sys, cosmotron.runs, cosmotron.stores; print('torch' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ended.stdout.strip() == "False"


def test_it_is_small_typed_and_each_function_has_an_example():
    assert sum(len(path.read_text().splitlines()) for path in PACKAGE) <= 400
    assert (ROOT / "cosmotron" / "py.typed").is_file()
    pytest.importorskip("deepspeed")
    models = importlib.import_module("cosmotron.models")
    without = [
        name
        for name, each in public((cosmotron, runs, stores, models))
        if callable(each) or isinstance(each, property)
        if not inspect.isclass(each) and name != "published"
        if ">>>" not in (each.__doc__ or "")
    ]
    assert without == []


@pytest.fixture(scope="module")
def notebook(uninterrupted, tmp_path_factory):
    """The folder that a notebook of the documentation is in."""
    pytest.importorskip("deepspeed")
    from pipeline.release.export import export

    folder = tmp_path_factory.mktemp("notebook")
    (folder / "runs").mkdir()
    (folder / "runs" / "tiny").symlink_to(uninterrupted / "tiny")
    export(load_campaign(str(TINY)), Folder(uninterrupted, "tiny"), TUNED, folder / "exported")
    (file, *_) = (uninterrupted / "tiny/simulate/collisions/files/train").glob("*.npz")
    shutil.copyfile(file, folder / "spacepoints.npz")
    shutil.copyfile(PUBLISHED, folder / "ParticleNet.safetensors")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: path.name)
def test_the_examples_of_the_documentation_run(notebook, monkeypatch, path):
    monkeypatch.chdir(notebook)
    names = {
        "cosmotron": cosmotron,
        "run": cosmotron.open("runs/tiny"),
        "store": cosmotron.open_store("runs/tiny/data/labelled.zarr"),
        "model": cosmotron.load("exported"),
    }
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
    tree = ast.walk(ast.parse(path.read_text()))
    texts = [ast.get_docstring(node) or "" for node in tree if isinstance(node, nodes)]
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for number, text in enumerate(texts):
        test = doctest.DocTestParser().get_doctest(text, names, path.name, str(path), number)
        output = []
        runner.run(test, out=output.append, clear_globs=False)
        assert not output, "".join(output)


@pytest.mark.slow
def test_the_page_on_python_runs_from_top_to_bottom(notebook, monkeypatch):
    monkeypatch.chdir(notebook)
    page = (ROOT / "docs" / "python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec("\n".join(blocks), names)
    assert len(blocks) == 4
    assert names["states"].shape == (8, 32)


@pytest.fixture(scope="module")
def jets(tmp_path_factory):
    return jet_store(tmp_path_factory.mktemp("jets") / "jets.zarr")


@pytest.mark.parametrize(
    "which",
    [
        slice(4998, 5003),
        slice(0, 1),
        slice(-3, None),
        slice(10, 0, -4),
        slice(2, 90, 7),
        slice(5, 5),
    ],
)
def test_any_slice_is_that_of_the_whole(jets, which):
    split = cosmotron.open_store(jets)["test"]
    assert len(split) == EVENTS == sum(count for _, count in SHARDS)
    whole, part = split[:], split[which]
    assert part.event_id.tolist() == whole.event_id[which].tolist()
    assert part.points.px.tolist() == whole.points.px[which].tolist()
    assert part.points.fields[:2] == ["px", "py"]
    assert "label" in part.fields


def test_an_event_by_its_place(jets):
    split = cosmotron.open_store(jets)["test"]
    assert split[-1].event_id == split[EVENTS - 1].event_id
    assert split[0].points.species.ndim == 2
    with pytest.raises(IndexError):
        split[EVENTS]
    with pytest.raises(BadInput, match="no split 'train'; this store has test"):
        cosmotron.open_store(jets)["train"]
    assert isinstance(cosmotron.open_store(jets)["test"], stores.Split)


def test_batches_are_of_every_event_once(jets):
    pytest.importorskip("torch")
    store = cosmotron.open_store(jets)
    ids = [batch.event_id for batch in store.batches("test", events=1000)]
    assert [len(each) for each in ids] == [1000] * 9
    assert np.array_equal(np.concatenate(ids), store["test"][:].event_id)
    shuffled = np.concatenate([b.event_id for b in store.batches("test", shuffle=True, seed=3)])
    assert sorted(shuffled) == sorted(np.concatenate(ids))
    assert not np.array_equal(shuffled, np.concatenate(ids))


@pytest.fixture(scope="module")
def exported(jets, tmp_path_factory):
    """A folder of a fine-tuned ParticleNet, whose 17 inputs are made of the store's 10 columns."""
    pytest.importorskip("deepspeed")
    from pipeline.campaign import FinetuneTask, stored
    from pipeline.data.store import Store as Opened
    from pipeline.families.particlenet.spec import ParticleNet
    from pipeline.run import TaskFolder
    from pipeline.training.engine.engine import weights_hash
    from pipeline.training.programs.finetune import network
    from pipeline.training.weights import WEIGHTS, save

    folder = tmp_path_factory.mktemp("particlenet")
    trained = finetuned(tmp_path_factory.mktemp("trained"), jets)
    task = stored.read(TaskFolder(trained.path), FinetuneTask)
    model = ParticleNet(widths=(8,), convolutions=1, neighbours=2, inner=8, dropout=0)
    task = task.model_copy(update={"model": model})
    weights = network(task, Opened.open(jets)).state_dict()
    save(weights, folder / WEIGHTS, {})
    digest = weights_hash(weights)
    assert Weights(weights_sha256=digest)
    content = ModelFolder(
        model=model, head=task.head, mode=task.mode, weights=StoredWeights(sha256=digest)
    )
    model_folder.write(folder, content)
    return folder


def test_a_model_of_derived_inputs_reads_the_columns_of_a_store(jets, exported):
    model = cosmotron.load(exported)
    store = cosmotron.open_store(jets)
    found = model.predict(store, "test")
    assert len(found) == EVENTS
    assert np.array_equal(found.event_id, store["test"][:].event_id)
    assert np.array_equal(found.truth_label, store["test"][:].label)
    total = sum(found[name] for name in found.fields if name.startswith("probability_"))
    assert awkward.all(abs(total - 1) < 1e-5)
    assert model.embed(jets, "test").shape == (EVENTS, 8)
    assert not model.module.training


def test_what_is_not_there_is_said(jets, exported, tmp_path):
    with pytest.raises(DeclarationError, match=r"none: no run: campaign.toml is not there"):
        cosmotron.open(tmp_path / "none")
    (tmp_path / "campaign.toml").touch()
    with pytest.raises(RunError, match=r"x/predictions.parquet: not there.* have it: none"):
        cosmotron.open(tmp_path).predictions("x")
    with pytest.raises(BadInput, match="no store here"):
        cosmotron.open_store(tmp_path)
    with pytest.raises(DeclarationError, match=r"no model: config.toml is not there. Write"):
        cosmotron.load(tmp_path)
    with pytest.raises(BadInput, match=r"nothing says how files are read for this model"):
        cosmotron.load(exported).predict("a.root")


def test_an_earlier_export_that_lacks_its_mode_says_what_to_do(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "old")
    declared = model_folder.read(exported)
    model_folder.write(tmp_path / "old", declared.model_copy(update={"mode": "head"}))
    with pytest.raises(RunError, match=r"old: the weights do not fit .* export it again"):
        cosmotron.load(tmp_path / "old")


def test_published_weights_have_states_and_no_head(jets):
    pytest.importorskip("deepspeed")
    model = cosmotron.load_published("particlenet", PUBLISHED)
    assert repr(model) == "Model(particlenet, as published)"
    with pytest.raises(BadInput, match="a model without a head predicts nothing"):
        model.predict(jets)
    assert len(model.embed(jets, "test")) == EVENTS


def test_a_model_of_ones_own_without_a_backbone_has_no_states(jets, tmp_path):
    pytest.importorskip("deepspeed")
    from pipeline.catalog import parse
    from pipeline.families.custom.spec import Custom
    from pipeline.nn import systems
    from pipeline.training.engine.engine import weights_hash
    from pipeline.training.weights import WEIGHTS, save

    asked = {"code": OWN_MODEL, "settings": {"width": 8}, "columns": ("px", "py", "pz", "energy")}
    own = parse(Custom, asked | {"objectives": {"energy": 1.0}})
    weights = systems.build(own, None).module.state_dict()
    save(weights, tmp_path / WEIGHTS, {})
    stored = StoredWeights(sha256=weights_hash(weights))
    model_folder.write(tmp_path, ModelFolder(model=own, weights=stored))
    model = cosmotron.load(tmp_path)
    with pytest.raises(BadInput, match="has no backbone whose states could be shown"):
        model.embed(jets, "test")
