"""The engine: every ZeRO stage and any number of ranks train the same model."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from made_batches import MODEL, batch, part
from ranks import start, training

from pipeline.data.errors import BadInput
from pipeline.families.fm4npp.module import NeighbourPredictor
from pipeline.nn.batch import MicroBatch
from pipeline.nn.collectives import Collectives
from pipeline.nn.losses import only
from pipeline.training.engine import engine
from pipeline.training.engine.backend import import_uncompiled
from pipeline.training.engine.caches import CACHES, cache_on_node
from pipeline.training.engine.engine import World, settings, weights_hash
from pipeline.training.weights import load

STAGES = ("0", "1", "2", "3")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What `zero_stages.py` tells with one and with two ranks, and where its weights lie."""
    folder = tmp_path_factory.mktemp("zero")
    script = str(Path(__file__).parent / "zero_stages.py")
    told = {}
    for size in (1, 2):
        log = folder / "log.txt"
        ranks = start([sys.executable, script, str(folder)], size=size, log=log)
        assert [rank.wait(120) for rank in ranks] == [0] * size, log.read_text()
        told[size] = json.loads((folder / f"told-{size}.json").read_text())
    return folder, told


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("stage", STAGES)
def test_every_zero_stage_and_world_size_gives_the_same_losses(trained, stage, size):
    expected, found = trained[1][1]["0"]["numbers"], trained[1][size][stage]["numbers"]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2])
def test_the_gradient_norm_is_of_the_whole_model_or_not_told(trained, size):
    told = trained[1][size]
    norms = {stage: [each.get("grad_norm") for each in told[stage]["numbers"]] for stage in STAGES}
    assert norms["0"] == [None] * len(norms["0"])
    for stage in ("2", "3"):
        assert norms[stage] == pytest.approx(norms["1"], rel=1e-4)
    assert all(norm > 0 for norm in norms["1"])


@pytest.mark.slow
def test_the_losses_fall(trained):
    losses = [each["loss"] for each in trained[1][2]["1"]["numbers"]]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_every_zero_stage_exports_the_whole_model(trained, stage):
    folder, told = trained
    weights = load(folder / f"zero{stage}-of-2.safetensors")
    model = NeighbourPredictor(MODEL)
    model.load_state_dict(weights, strict=True)
    assert weights_hash(weights) == told[2][stage]["sha256"]
    plain = load(folder / "zero0-of-1.safetensors")
    for name, value in weights.items():
        torch.testing.assert_close(value, plain[name], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_no_engine_imports_a_compiler(trained):
    told = trained[1][1]
    assert [told[stage]["compiler"] for stage in STAGES] == [[], [], [], ["torch._dynamo"]]


def test_an_import_without_the_compiler_changes_nothing_else(tmp_path, monkeypatch):
    before = torch.compile
    lines = ("import torch", "def plain(): ...", "made = torch.compile(plain)")
    (tmp_path / "kernels.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    import_uncompiled("kernels")
    kernels = sys.modules.pop("kernels")
    assert kernels.made is kernels.plain
    assert torch.compile is before


@pytest.mark.slow
def test_a_stop_asked_of_one_rank_is_heard_by_all(trained):
    assert trained[1][2]["1"]["largest"] == [1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("stage", STAGES)
def test_a_step_waits_for_the_device_once_and_hears_what_a_rank_wants(trained, stage, size):
    told = trained[1][size][stage]
    assert told["wanted"] == size - 1
    ours = {each: n for each, n in told["waits"].items() if " at deepspeed/" not in each}
    assert list(ours.values()) == [1]
    assert next(iter(ours)).startswith("tolist at training/engine/engine.py")


@pytest.mark.parametrize(("world_size", "micro"), [(1, 4), (2, 2), (4, 1)])
def test_the_global_batch_is_the_only_truth(world_size, micro):
    made = settings(training(), world_size, 1000)
    assert made["train_batch_size"] == 4
    assert made["train_micro_batch_size_per_gpu"] == micro


def test_more_processes_than_lanes_are_refused():
    with pytest.raises(
        BadInput, match=r"5 processes for batches of 4 events in 4 lanes: .* most 4"
    ):
        settings(training(), 5, 1000)


def test_settings_follow_the_task():
    made = settings(training(precision="bf16", zero=3, clip_norm=0.5), 1, 1000)
    assert made["bf16"]["enabled"]
    assert made["zero_optimization"]["stage"] == 3
    assert made["gradient_clipping"] == 0.5


@pytest.mark.parametrize(("trained", "bucket"), [(0, 1), (1000, 1000), (10**9, 500_000_000)])
def test_no_bucket_is_larger_than_the_gradients(trained, bucket):
    made = settings(training(), 1, trained)
    assert made["zero_optimization"]["reduce_bucket_size"] == bucket


def test_a_hash_is_of_names_and_values():
    one = weights_hash({"a": torch.ones(2), "b": torch.zeros(2)})
    assert one == weights_hash({"b": torch.zeros(2), "a": torch.ones(2)})
    assert one != weights_hash({"a": torch.ones(2), "c": torch.zeros(2)})
    assert one != weights_hash({"a": torch.ones(2), "b": torch.ones(2)})
    assert weights_hash({"a": torch.ones(2, dtype=torch.bfloat16)})


def test_what_is_compiled_lies_on_the_node_by_job_and_process(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("COSMOTRON_JOB_ID", "42")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.setenv("TRITON_CACHE_DIR", "/asked/for")
    for name in CACHES[1:]:
        monkeypatch.delenv(name, raising=False)
    found = []
    for rank in ("0", "1"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        cache_on_node(World().local_rank)
        found.append([os.environ.pop(name) for name in CACHES[1:]])
    assert os.environ["TRITON_CACHE_DIR"] == "/asked/for"
    folders = {path for paths in found for path in paths}
    assert len(folders) == 4
    assert all(Path(path).is_relative_to(tmp_path) and "-42-" in path for path in folders)


def test_jobs_of_a_machine_without_a_scheduler_leave_one_cache_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("SLURM_JOB_ID", "PBS_JOBID"):
        monkeypatch.delenv(name, raising=False)
    for job in ("grid.pretrain.m.1-ab", "grid.pretrain.m.2-cd"):
        monkeypatch.setenv("COSMOTRON_JOB_ID", job)
        for name in CACHES:
            monkeypatch.delenv(name, raising=False)
        cache_on_node(0)
    (folder,) = tmp_path.iterdir()
    assert f"-torch-{torch.__version__}-" in folder.name


def test_the_micro_batch_is_limited():
    made = settings(training(batch_events=8, micro_events=2), 3, 1000)
    assert made["gradient_accumulation_steps"] == 2
    assert made["train_micro_batch_size_per_gpu"] == 2


def test_where_events_are_left_out_means_are_over_those_left_in_the_global_batch(monkeypatch):
    """Of eight events in two micro-batches, a tokenizer leaves out one."""
    monkeypatch.setattr(engine, "COLLECTIVES", Collectives())
    alone = SimpleNamespace(world=SimpleNamespace(size=1, device=torch.device("cpu")))
    whole = batch([3, 1, 4, 1, 5, 9, 2])
    events = [part(whole, [0, 1, 2]), part(whole, [3, 4, 5, 6])]
    losses = only(lambda _, batch: {"size": batch.sizes.double().mean()})
    for is_whole, expected in ((True, None), (False, whole.sizes.double().mean())):
        micros = [MicroBatch(each, 1.0, is_whole) for each in events]
        shares = engine.Engine._shares(alone, micros, losses)
        pairs = zip(events, shares, strict=True)
        found = sum(losses(None, each, share)[0] for each, share in pairs) / 2
        assert (found == expected) is not is_whole
