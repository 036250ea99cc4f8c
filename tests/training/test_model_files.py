"""Models of tokens read files: tokenised on the way, as their store of tokens was."""

import json
import shutil

import awkward
import numpy as np
import pandas
import pytest

pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from made_constituents import SMALL, tokenizing
from made_predictions import evaluation, finetuned

import cosmotron
from pipeline.campaign import (
    Dataset,
    EvaluateTask,
    FinetuneTask,
    Simulation,
    StageTask,
    TokenizeTask,
    declare,
    load_campaign,
    model_folder,
    stored,
)
from pipeline.campaign.model_folder import ModelFolder, SourceFiles, StoredWeights
from pipeline.data.errors import BadInput
from pipeline.data.program import run as run_program
from pipeline.data.simulation import simulator
from pipeline.data.stage import STAGE
from pipeline.data.store import Store
from pipeline.families.omnijet.spec import OmniJet
from pipeline.records import PredictRequest, Weights, read
from pipeline.release import export, source_files
from pipeline.run import Run, TaskFolder
from pipeline.training import unseen
from pipeline.training.engine.engine import World
from pipeline.training.link.stopping import Stop
from pipeline.training.programs.evaluate import evaluate
from pipeline.training.programs.predict import predict
from pipeline.training.programs.tokenize import tokenize

MODEL = OmniJet(codes=SMALL.codes, width=16, layers=1, heads=2)
JETS = 12


def staged(folder, file):
    """A store of the jets in `file`, all of them in both splits' one "train"."""
    task = StageTask(
        key="stage/jets",
        dataset=Dataset(
            experiment="jetclass", folder=str(file.parent), splits={"train": (file.name,)}
        ),
        sources={"train": (str(file),)},
        store=folder / "jets.zarr",
        bins_store=folder / "jets.zarr",
    )
    there = TaskFolder(folder / "stage")
    declare(there, task)
    for step in ("--begin", "--part 0", "--finish"):
        assert run_program(STAGE, [str(there.path), *step.split()]) == 0
    return task.store


def done(program, kind, folder):
    """Run a training program on a task folder, in this process."""
    program(stored.read(folder, kind), folder, World(), Stop(folder, polls=False))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A file of jets, its store of tokens, and a model on these that nobody trained."""
    folder = tmp_path_factory.mktemp("made")
    file = folder / "HToBB_000.root"
    asked = Simulation(
        experiment="jetclass", format="root", files={"train": 1}, events_per_file=JETS
    )
    simulator("jetclass").write(file, asked, 0, 1)
    tokens = tokenizing(folder, staged(folder, file), events_seen=8)
    done(tokenize, TokenizeTask, tokens)
    store = stored.read(tokens, TokenizeTask).store
    return file, store, finetuned(folder / "tuned", store, model=MODEL)


def source(store, **changes):
    manifest = Store.open(store.with_name("jets.zarr")).manifest
    read = {
        "experiment": "jetclass",
        "order": manifest.order,
        "min_points": manifest.min_points,
        "max_points": manifest.max_points,
        "tokenizer": str(store / "tokenizer.json"),
    }
    return SourceFiles(**read | changes)


def requested(made, to, **changes):
    file, store, tuned = made
    return PredictRequest(
        finetuned=str(tuned.path),
        source=source(store, **changes).model_dump(mode="json"),
        files=(str(file),),
        to=str(to),
    )


def test_files_are_predicted_as_their_store_of_tokens(made, tmp_path, monkeypatch):
    monkeypatch.setattr(unseen, "allowed", lambda _: True)  # the tokenizer saw these jets
    _, store, tuned = made
    folder = evaluation(tmp_path / "evaluated", tuned, store, "train")
    kept = pandas.read_parquet(done(evaluate, EvaluateTask, folder).predictions)
    told = predict(requested(made, tmp_path / "p.parquet"))
    found = pandas.read_parquet(tmp_path / "p.parquet")
    assert told.events == len(found) == len(kept) == JETS
    assert list(found.columns) == list(kept.columns)
    for name in kept.columns:
        assert np.array_equal(found[name], kept[name]), name
    assert found.filter(like="probability_").to_numpy().std() > 0


def test_a_model_that_is_loaded_reads_files_too(made, tmp_path):
    file, store, tuned = made
    task = stored.read(tuned, FinetuneTask)
    weights = read(tuned.result, Weights).weights_sha256
    for path in (tuned.path / "weights.safetensors", store / "tokenizer.json"):
        shutil.copy(path, tmp_path)
    shutil.copy(store / "tokenizer.pt", tmp_path)
    content = ModelFolder(
        model=task.model,
        head=task.head,
        mode=task.mode,
        files=source(store, tokenizer="tokenizer.json"),
        weights=StoredWeights(sha256=weights),
    )
    model_folder.write(tmp_path, content)
    shutil.copy(tuned.result, tmp_path)
    found = cosmotron.load(tmp_path).predict(file)
    predict(requested(made, tmp_path / "p.parquet"))
    assert awkward.array_equal(found, awkward.from_parquet(tmp_path / "p.parquet"))


def test_another_tokenizer_or_none_is_refused(made, tmp_path):
    other = tmp_path / "tokenizer.json"
    with pytest.raises(BadInput, match=r"tokenizer\.json: declares no tokenizer"):
        predict(requested(made, tmp_path / "p.parquet", tokenizer=str(other)))
    text = (made[1] / "tokenizer.json").read_text()
    other.write_text(text)
    with pytest.raises(BadInput, match=r"tokenizer\.pt: not there"):
        predict(requested(made, tmp_path / "p.parquet", tokenizer=str(other)))
    shutil.copy(made[1] / "tokenizer.pt", tmp_path)
    other.write_text(json.dumps({**json.loads(text), "codes": 64}))
    with pytest.raises(BadInput, match=r"a tokenizer of 64 codes; this model expects 32"):
        predict(requested(made, tmp_path / "p.parquet", tokenizer=str(other)))
    assert not (tmp_path / "p.parquet").exists()


def test_an_export_has_the_tokenizer_of_its_model(made, tmp_path):
    run = Run(tmp_path, "omnijet-quick")
    shutil.copytree(made[1].with_name("jets.zarr"), run.store("jets"))
    shutil.copytree(made[1], run.store("tokens"))
    campaign = load_campaign("omnijet-quick")
    tasks = campaign.tasks(run)
    task = next(each for each in tasks if each.key == "pretrain/small-d1100-s1")
    found = source_files.of_training(task, tasks, campaign)
    assert found.tokenizer == str(run.store("tokens") / "tokenizer.json")
    assert found.experiment == "jetclass"
    to = tmp_path / "exported"
    to.mkdir()
    assert export._files(task, tasks, campaign, to).tokenizer == "tokenizer.json"
    assert sorted(path.name for path in to.iterdir()) == ["tokenizer.json", "tokenizer.pt"]
