"""What an evaluation keeps of every event: the same by any number of processes, or after a kill."""

import json
import shutil

import awkward
import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from made_predictions import EVENTS, FILES, SHARDS, evaluation, finetuned, jet_store
from ranks import result, run

from pipeline import records
from pipeline.campaign import EvaluateTask, stored
from pipeline.data import predictions
from pipeline.data.checksums import array_hash, sha256
from pipeline.data.experiments.jetclass import CLASSES
from pipeline.data.experiments.jetclass import COLUMNS as JETS
from pipeline.data.store import Store
from pipeline.outcome import Exit
from pipeline.records import Evaluated
from pipeline.run import TaskFolder
from pipeline.training import predicting
from pipeline.training.engine.engine import World
from pipeline.training.link.stopping import Stop
from pipeline.training.predictor import Predictor
from pipeline.training.programs.evaluate import evaluate

COLUMNS = ["event_id", "file", "entry", *(f"probability_{each}" for each in CLASSES), "truth_label"]


@pytest.fixture(scope="module")
def jets(tmp_path_factory):
    return jet_store(tmp_path_factory.mktemp("jets") / "jets.zarr")


@pytest.fixture(scope="module")
def trained(jets, tmp_path_factory):
    return finetuned(tmp_path_factory.mktemp("trained"), jets)


@pytest.fixture(scope="module")
def alone(jets, trained, tmp_path_factory):
    """The folder of an evaluation by one process."""
    folder = evaluation(tmp_path_factory.mktemp("alone"), trained, jets)
    assert run(folder, "evaluate", size=1) == Exit.FINISHED, (folder.path / "log.txt").read_text()
    return folder


def split_of(store, name):
    """The array `name` of split "test", in the order of the store."""
    return np.concatenate([each.read((name,))[name] for each in Store.open(store).shards("test")])


def evaluated(folder, *, stop_after=None):
    """Evaluate in this process, which is asked to stop once so many events are predicted."""
    stop, seen, predict = Stop(folder, polls=False), [], Predictor.predict

    def counted(self, events, columns, reads):
        seen.append(len(events))
        if stop_after is not None and sum(seen) >= stop_after:
            stop._requested = True
        return predict(self, events, columns, reads)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Predictor, "predict", counted)
        return evaluate(stored.read(folder, EvaluateTask), folder, World(), stop), sum(seen)


def test_every_event_is_there_once_in_the_order_of_the_store(jets, alone):
    table = pandas.read_parquet(alone.predictions)
    assert list(table.columns) == COLUMNS
    assert len(table) == EVENTS == table.event_id.nunique()
    assert np.array_equal(table.event_id, split_of(jets, "event_id"))
    assert np.array_equal(table.truth_label, split_of(jets, "label"))
    assert np.allclose(table.filter(like="probability_").sum(axis=1), 1)


def test_an_event_names_its_file_and_entry(alone):
    table = pandas.read_parquet(alone.predictions)
    of_file = {name: [n for file, n in SHARDS if FILES[file] == name] for name in FILES}
    files = np.repeat([f"/raw/{name}" for name in FILES], [sum(n) for n in of_file.values()])
    assert np.array_equal(table.file, files)
    for name, counts in of_file.items():
        entries = table.entry[table.file == f"/raw/{name}"]
        assert np.array_equal(entries, 2 * np.arange(sum(counts)))


def test_the_result_names_the_file_and_the_arrays_in_it(alone):
    told = records.read(alone.result, Evaluated)
    assert told.predictions.file == "predictions.parquet"
    assert told.predictions.sha256 == sha256(alone.predictions)
    assert told.predictions.bytes == alone.predictions.stat().st_size
    found = predictions.arrays(alone.predictions)
    assert told.predictions_sha256 == {"probabilities": array_hash(found["probabilities"])}
    assert found["probabilities"].shape == (EVENTS, len(CLASSES))
    assert not alone.prediction_parts.exists()


def test_the_values_are_those_of_the_model(jets, trained, alone):
    source, predictor = predicting_of(alone)
    (events,) = list(source.stream(EVENTS))
    whole = predictor.predict(events, JETS, source.reads)["probabilities"]
    found = predictions.arrays(alone.predictions)["probabilities"]
    assert np.array_equal(found, whole)
    assert found.std() > 0


def predicting_of(folder):
    from pipeline.campaign import FinetuneTask
    from pipeline.training.programs.evaluate import source_of

    task = stored.read(folder, EvaluateTask)
    tuned = stored.read(TaskFolder(task.finetuned), FinetuneTask)
    source = source_of(task, tuned)
    store = source.open()
    return source, Predictor.load(task.finetuned, tuned, store, torch.device("cpu"))


def test_several_processes_write_the_same_file(jets, trained, alone, tmp_path):
    folder = evaluation(tmp_path, trained, jets)
    assert run(folder, "evaluate", size=2) == Exit.FINISHED, (tmp_path / "log.txt").read_text()
    assert folder.predictions.read_bytes() == alone.predictions.read_bytes()
    assert result(folder)["scores"] == result(alone)["scores"]
    assert not folder.prediction_parts.exists()


def test_what_was_written_before_a_stop_is_not_predicted_again(jets, trained, alone, tmp_path):
    folder = evaluation(tmp_path, trained, jets)
    code, seen = evaluated(folder, stop_after=predicting.PART_EVENTS + 1)
    assert code == Exit.CONTINUE
    assert predicting.PART_EVENTS < seen < 2 * predicting.PART_EVENTS
    assert [path.name for path in folder.prediction_parts.iterdir()] == ["000000.parquet"]
    assert not folder.predictions.exists()
    code, seen = evaluated(folder)
    assert (code, seen) == (Exit.FINISHED, EVENTS - predicting.PART_EVENTS)
    assert folder.predictions.read_bytes() == alone.predictions.read_bytes()


def test_a_part_that_is_damaged_or_of_others_is_made_again(jets, trained, alone, tmp_path):
    folder = evaluation(tmp_path, trained, jets)
    evaluated(folder, stop_after=2 * predicting.PART_EVENTS)
    damaged = folder.prediction_parts / "000000.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    shutil.copyfile(alone.predictions, folder.prediction_parts / "000001.parquet")
    code, seen = evaluated(folder)
    assert (code, seen) == (Exit.FINISHED, EVENTS)
    assert folder.predictions.read_bytes() == alone.predictions.read_bytes()


def test_an_evaluation_that_is_made_again_takes_the_file_that_is_there(jets, trained, alone):
    before = alone.predictions.stat().st_ino, json.loads(alone.result.read_text())
    alone.done.unlink()
    code, seen = evaluated(alone)
    assert (code, seen) == (Exit.FINISHED, 0)
    again = json.loads(alone.result.read_text())
    assert alone.predictions.stat().st_ino == before[0]
    assert {**again, "seconds": 0, "job_id": ""} == {**before[1], "seconds": 0, "job_id": ""}


def test_other_weights_make_another_file(jets, alone, tmp_path):
    folder = evaluation(tmp_path / "told", finetuned(tmp_path / "other", jets, seed=2), jets)
    shutil.copyfile(alone.predictions, folder.predictions)
    code, seen = evaluated(folder)
    assert (code, seen) == (Exit.FINISHED, EVENTS)
    assert folder.predictions.read_bytes() != alone.predictions.read_bytes()


def test_awkward_reads_it(alone):
    found = predictions.read(alone.predictions)
    assert found.fields == COLUMNS
    assert isinstance(found, awkward.Array)
    some = predictions.read(alone.predictions, ["event_id", "truth_label"])
    assert some.fields == ["event_id", "truth_label"]
    unit = pq.read_schema(alone.predictions).field("probability_QCD").metadata
    assert unit == {b"unit": b"1"}
