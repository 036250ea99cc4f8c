"""`cosmotron predict`: any files, by the model of a run, as its evaluation would have them."""

import json

import numpy as np
import pandas
import pytest
from whole_campaign import TINY

from pipeline.campaign import load_campaign
from pipeline.catalog import DeclarationError
from pipeline.outcome import Exit
from pipeline.records import FileProgress, PredictRequest
from pipeline.release import predict
from pipeline.release.predict import PredictError, request
from pipeline.run import Run

TUNED = "tracking-m-d24-s1-full-l8-s1"


@pytest.fixture(scope="module")
def run(uninterrupted):
    pytest.importorskip("deepspeed")
    return uninterrupted / "tiny"


def source(run, name):
    (path,) = run.glob(f"simulate/*/files/{name}")
    return path


@pytest.mark.slow
def test_the_file_of_the_test_split_gives_what_its_evaluation_gave(cosmotron, run, tmp_path):
    to, file = tmp_path / "p.parquet", source(run, "test/pp200_000.root")
    told = cosmotron("predict", run, f"evaluate/{TUNED}", file, "--to", to)
    assert told.code == 0, told.err
    found = pandas.read_parquet(to)
    kept = pandas.read_parquet(run / f"evaluate/{TUNED}/predictions.parquet")
    assert list(found.columns) == list(kept.columns)
    for name in kept.columns:
        assert all(map(np.array_equal, found[name], kept[name])), name
    assert f"p.parquet: {len(kept)} events of 1 file(s) in" in told.words
    assert "events/s on cpu" in told.words


@pytest.mark.slow
def test_files_without_labels_and_scripts(cosmotron, run, tmp_path):
    to, files = tmp_path / "p.npz", sorted(run.glob("simulate/collisions/files/train/*.npz"))
    told = cosmotron("predict", run, TUNED, *files, "--to", to, "--json")
    assert told.code == 0, told.err
    result = json.loads(told.out)
    assert (result["files"], result["events"], result["rejected"]) == (2, 24, {})
    with np.load(to) as found:
        assert not [name for name in found if name.startswith("truth_")]
        assert found["files"].tolist() == [str(each) for each in files]
        assert found["entry"].tolist() == [*range(12), *range(12)]
        assert len(np.unique(found["event_id"])) == 24


@pytest.mark.slow
def test_what_is_wrong_with_a_file_is_said_and_nothing_is_written(cosmotron, run, tmp_path):
    damaged = tmp_path / "bad.root"
    damaged.write_bytes(source(run, "test/pp200_000.root").read_bytes()[:4000])
    for words, message in (
        ((damaged, "--to", tmp_path / "p.root"), "bad.root"),
        ((tmp_path / "none.root", "--to", tmp_path / "p.root"), "none.root: cannot be read"),
        ((damaged, "--to", tmp_path / "p.txt"), "ends in none of .parquet, .root, .npz"),
        ((damaged, damaged, "--to", tmp_path / "p.root"), "bad.root: given twice"),
    ):
        told = cosmotron("predict", run, TUNED, *words)
        assert told.code == Exit.BAD_INPUT, told.err
        assert message in told.words
        assert "Traceback" not in told.words
        assert [path.name for path in tmp_path.iterdir()] == ["bad.root"]


def test_the_model_must_be_trained_and_named(tmp_path):
    campaign, run = load_campaign(str(TINY)), Run(tmp_path, "tiny")
    with pytest.raises(DeclarationError, match=f"Did you mean 'finetune/{TUNED}'"):
        request(campaign, run, TUNED.replace("full", "ful"), ["a.root"], tmp_path / "p.root")
    with pytest.raises(DeclarationError, match=r"No fine-tuning 'pretrain/m-d24-s1'"):
        request(campaign, run, "pretrain/m-d24-s1", ["a.root"], tmp_path / "p.root")
    for key in (TUNED, f"finetune/{TUNED}", f"evaluate/{TUNED}"):
        with pytest.raises(PredictError, match=r"not done, so it has no weights"):
            request(campaign, run, key, ["a.root"], tmp_path / "p.root")


def test_a_program_that_ends_otherwise_is_reported(monkeypatch, tmp_path):
    asked = PredictRequest(finetuned="f", source={}, files=("a",), to="p.root")
    seen = []
    script = (
        'echo \'{"done": 0.5, "files": 1}\'; echo a library speaks; echo no weights >&2; exit 9'
    )
    monkeypatch.setattr(predict, "PROGRAM", ("sh", "-c", script))
    with pytest.raises(PredictError, match="no weights"):
        predict.start(asked, seen.append)
    assert seen == [FileProgress(done=0.5, files=1)]
    monkeypatch.setattr(predict, "PROGRAM", ("sh", "-c", "kill -9 $$"))
    with pytest.raises(PredictError, match="ended with -9"):
        predict.start(asked, seen.append)
