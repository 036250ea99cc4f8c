"""Every optimiser under every ZeRO stage: a resume changes no bit, and no group's own rate."""

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from ranks import start

from pipeline.training.weights import load

OPTIMISERS, STAGES = ("adamw", "lion", "ranger", "amsgrad"), (0, 1, 2, 3)
SINGLE = [f"{kind}-{zero}-fp32" for kind in OPTIMISERS for zero in STAGES]
EVERY = [*SINGLE, "adamw-1-bf16", "ranger-2-bf16"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What `optimiser_resumes.py` tells with two ranks, and where its weights lie."""
    folder = tmp_path_factory.mktemp("resumes")
    script, log = str(Path(__file__).parent / "optimiser_resumes.py"), folder / "log.txt"
    ranks = start([sys.executable, script, str(folder)], size=2, log=log)
    assert [rank.wait(250) for rank in ranks] == [0, 0], log.read_text()
    return folder, json.loads((folder / "told.json").read_text())


@pytest.fixture
def told(trained):
    """What it tells."""
    return trained[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_resumed_it_has_the_weights_of_a_training_that_nothing_disturbed(told, name):
    assert told[name]["seen"] == 28
    assert told[name]["resumed"] == told[name]["straight"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SINGLE)
def test_every_zero_stage_takes_the_same_steps(told, name):
    without = f"{name.split('-')[0]}-0-fp32"
    assert told[name]["loss"] == pytest.approx(told[without]["loss"], rel=1e-3)


@pytest.mark.slow
def test_optimisers_differ(told):
    assert len({told[f"{kind}-1-fp32"]["straight"] for kind in OPTIMISERS}) == len(OPTIMISERS)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_group_keeps_its_own_rate_through_schedule_and_resume(told, name):
    """FM4NPP's public trainer has a scheduler that sets all groups to one rate, so µP is lost."""
    one = told[name]
    assert sorted(one["own_rates"]) == pytest.approx([2.5e-4, 1e-3, 1e-3, 3e-3])
    assert one["rates"] == pytest.approx([one["factor"] * rate for rate in one["own_rates"]])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EVERY if "-3-" not in name])
def test_the_mean_of_the_weights_is_what_is_exported(trained, name):
    folder, _ = trained
    mean = torch.load(folder / f"{name}-mean.pt", weights_only=True)
    exported, resumed = (load(folder / f"{name}{end}.safetensors") for end in ("", "-resumed"))
    for key, value in mean.items():
        torch.testing.assert_close(exported[key].double(), value, rtol=1e-5, atol=1e-6)
        assert torch.equal(exported[key], resumed[key])
