"""The program tokenize: a store of tokens that stands alone, whatever ended its links."""

import json
import signal
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from made_batches import read_batch
from made_constituents import SMALL, tokenizing, write_jets
from ranks import Ranks, result, run, steps
from staged_alone import files_of

from pipeline.campaign import TokenizeTask, stored
from pipeline.data.errors import BadInput
from pipeline.data.loading import Selection
from pipeline.data.normalisation import normalised, physical
from pipeline.data.preparation.constituents import COLUMNS
from pipeline.data.store import Store
from pipeline.evaluation.jets import OF_CONSTITUENTS, OF_JETS, OF_SHAPES
from pipeline.families import Reads
from pipeline.families.binning.spec import Binning
from pipeline.families.omnijet.probe import probe
from pipeline.families.omnijet.spec import OmniJet
from pipeline.nn import systems
from pipeline.nn.batch import Batch
from pipeline.nn.tokenizers import featured, token_type
from pipeline.nn.tokenizers import load as tokenizer_of
from pipeline.outcome import Exit
from pipeline.probing import Subject
from pipeline.training.engine import checkpoint

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def jets(tmp_path_factory):
    """A store of jets in three shards of two splits."""
    return write_jets(tmp_path_factory.mktemp("jets") / "jets.zarr")


@pytest.fixture(scope="module")
def tokenized(jets, tmp_path_factory):
    """The folder of a tokenising that nothing disturbed."""
    folder = tokenizing(tmp_path_factory.mktemp("tokenized"), jets)
    assert run(folder, "tokenize", size=1) == Exit.FINISHED, (folder.path / "log.txt").read_text()
    return folder


def store_of(folder):
    return Store.open(stored.read(folder, TokenizeTask).store)


def log_pt(shard):
    """ln pT of each constituent, of whichever columns there are."""
    points = shard["points"]
    if points.shape[1] == 3:
        return points[:, 0]
    px, py = points[:, :2].astype(np.float64).T
    return np.log(np.hypot(px, py)).astype(np.float32)


def test_every_jet_of_every_split_has_tokens_and_keeps_what_is_known_of_it(jets, tokenized):
    store, before = store_of(tokenized), Store.open(jets)
    assert store.manifest.events == before.manifest.events == {"train": 40, "test": 12}
    for new, old in zip(store.shards("train"), before.shards("train"), strict=True):
        there, source = new.read(), old.read()
        of_points, of_jets = {"token", "charge", "species"}, {"event_id", "label", "jet"}
        assert set(there) == {"points", "offsets"} | of_points | of_jets
        for name in of_jets:
            assert np.array_equal(there[name], source[name])
        rows = {tuple(row) for row in np.column_stack([log_pt(source), source["species"]])}
        assert {tuple(row) for row in np.column_stack([log_pt(there), there["species"]])} <= rows
        assert there["token"].dtype == np.uint16
        assert there["token"].max() < SMALL.codes
        assert len(there["token"]) == len(there["points"]) == there["offsets"][-1]
    assert sum(store.manifest.rejected.values()) == 0


def test_the_store_alone_leads_back_to_features(tokenized):
    store = store_of(tokenized)
    codec = tokenizer_of(store, CPU)
    shard = store.shards("test")[0].read()
    offsets = torch.from_numpy(shard["offsets"])
    features = torch.from_numpy(normalised(shard["points"], COLUMNS))
    codes = torch.from_numpy(shard["token"].astype(np.int64))
    assert codec.encode(features, offsets).equal(codes)
    error = physical(codec.decode(codes, offsets).numpy(), COLUMNS) - shard["points"]
    told = result(tokenized)["splits"]["test"]["reconstruction"]
    found = np.sqrt((error**2).mean(0))
    assert found == pytest.approx([told[column.name] for column in COLUMNS], rel=1e-3)


def test_the_result_tells_how_good_the_codes_are(tokenized):
    told = result(tokenized)
    assert (told["steps"], told["codes"], told["shards"]) == (30, 32, 3)
    assert told["events"] == {"train": 40, "test": 12}
    quality = told["splits"]["train"]
    assert 0 < quality["usage"] <= 1
    assert 1 <= quality["perplexity"] <= 32 * quality["usage"] + 1e-6
    assert quality["reconstruction"]["log_pt"] < 1.2, "less than the spread"
    lines = [json.loads(line) for line in tokenized.metrics.read_text().splitlines()]
    assert {"reconstruction", "commitment"} <= set(lines[0])
    assert lines[-1]["reconstruction"] < lines[0]["reconstruction"]


def test_a_changed_tokenizer_beside_the_shards_is_noticed(tokenized):
    path = store_of(tokenized).path / "tokenizer.pt"
    kept = path.read_bytes()
    path.write_bytes(kept + b"x")
    with pytest.raises(BadInput, match=r"tokenizer.pt: not what was written"):
        store_of(tokenized)
    path.write_bytes(kept)


def test_bins_go_through_the_same_stage_untrained(jets, tmp_path):
    folder = tokenizing(tmp_path, jets, model=Binning(bins=(40, 30, 30)))
    assert run(folder, "tokenize", size=2) == Exit.FINISHED, (folder.path / "log.txt").read_text()
    told = result(folder)
    assert (told["steps"], told["codes"]) == (0, 36_000)
    assert told["splits"]["train"]["reconstruction"]["deta"] < 1.6 / 30 / 2
    assert not folder.metrics.exists()


def test_tokens_of_many_codes_take_four_bytes():
    assert token_type(1 << 16) == np.uint16
    assert token_type((1 << 16) + 1) == np.int32


@pytest.mark.slow
def test_killed_while_it_trains_and_while_it_writes_it_makes_the_same_store(
    jets, tokenized, tmp_path
):
    folder = tokenizing(tmp_path, jets)
    link = Ranks(folder, "tokenize", size=1)
    link.wait_for_step(12)
    link.send(signal.SIGKILL)
    assert link.end() == -signal.SIGKILL
    assert 0 < checkpoint.newest(folder.checkpoints)[1] < 120
    link = Ranks(folder, "tokenize", size=1)
    store = tmp_path / "tokens.zarr"
    deadline = time.monotonic() + 120
    while not list(folder.parts.glob("*.json")):
        assert time.monotonic() < deadline
    link.send(signal.SIGKILL)
    link.end()
    assert not folder.is_done
    (store / "train" / ".00002-000.1.tmp").mkdir(parents=True)
    written = {path: path.stat().st_mtime_ns for path in store.glob("train/00000-000/*/c/**/0")}
    assert run(folder, "tokenize", size=1) == Exit.FINISHED
    assert steps(folder) == list(range(1, 31))
    told, expected = result(folder), result(tokenized)
    assert told["weights_sha256"] == expected["weights_sha256"]
    assert {path: path.stat().st_mtime_ns for path in written} == written, "whole shards stay"
    undisturbed = store_of(tokenized).path
    mine = files_of(store)
    mine.pop("train/.00002-000.1.tmp", None)
    assert mine == files_of(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [{"zero": 1}, {"zero": 3}, {"precision": "bf16"}])
def test_two_processes_train_as_one_and_share_the_shards(jets, tmp_path, asked):
    folder = tokenizing(tmp_path, jets, devices=2, **asked)
    assert run(folder, "tokenize", size=2) == Exit.FINISHED, (folder.path / "log.txt").read_text()
    store_of(folder).verify()
    assert result(folder)["processes"] == 2
    assert result(folder)["splits"]["train"]["reconstruction"]["log_pt"] < 1.2


def reading(store, **asked):
    return Selection(store, "train", OmniJet(**{"codes": 32, **asked}).reads())


def test_a_model_reads_the_tokens_as_they_are(tokenized):
    selection = reading(store_of(tokenized).path)
    batch = read_batch(selection, 0, 2)
    assert batch.per_point["token"].dtype == torch.int64
    log_pt = selection.load().points[: len(batch.points), 0]
    assert batch.points[:, 0].numpy() == pytest.approx(log_pt - 1.8, abs=1e-5)
    assert batch.per_event == {}


def test_tokens_of_another_vocabulary_are_refused(tokenized):
    with pytest.raises(BadInput) as told:
        reading(store_of(tokenized).path, codes=8192).open()
    advice = "Set codes = 32, or tokenise with 8192."
    assert f"tokens of 32 codes; this model expects 8192. {advice}" in str(told.value)


def test_jets_without_tokens_are_refused(jets):
    with pytest.raises(BadInput, match="no tokens here, only jetclass as it was staged"):
        reading(jets).open()


def test_jets_longer_than_the_model_takes_are_refused(jets):
    with pytest.raises(BadInput, match=r"this model takes 8. Stage again with max_points = 8"):
        Selection(jets, "train", Reads(("px",), most_points=8)).open()


def test_a_store_of_other_columns_is_no_store_of_jets(store, tmp_path):
    folder = tokenizing(tmp_path, store)
    assert run(folder, "tokenize", size=1) == Exit.BAD_INPUT
    assert "this model reads px, py, pz, energy" in result(folder)["message"]


def test_coordinates_far_from_the_axis_are_no_constituents(tmp_path):
    apart = torch.tensor([[3.0, 0.0, 0.0, 3.0], [-3.0, 1.0, 0.0, 3.2]])
    far = Batch(apart, torch.tensor([0, 2]), torch.tensor([7]))
    with pytest.raises(BadInput, match=r"events \[7\]: no constituent within 0.8 of its jet"):
        featured(far)


@pytest.mark.parametrize("inputs", ["tokens", "continuous"])
def test_a_probe_lays_generated_jets_beside_held_out_ones(tokenized, tmp_path, inputs):
    model = OmniJet(codes=32, width=16, layers=1, heads=2, inputs=inputs)
    store = store_of(tokenized)
    looks = []
    for _ in range(2):
        torch.manual_seed(0)
        system = systems.build(model, store)
        system.module.eval()
        events = Selection(store.path, "test", model.reads()).load()
        looks.append(probe(Subject(model, system, events, store, CPU, 1, tmp_path)))
    look = looks[0]
    assert look.scores == looks[1].scores, "the seed decides"
    assert set(look.about) == set(look.scores)
    assert look.scores["w1_multiplicity_of_tokens"] == 0
    assert look.scores["w1_constituent_pt_of_tokens"] > 0
    assert len(look.histograms) == len(OF_JETS) + len(OF_CONSTITUENTS) + len(OF_SHAPES)
    assert sum(look.histograms[0].made) == sum(look.histograms[0].true) == 12
