"""Every optimiser under every ZeRO stage: a resume changes no bit, and no group's own rate."""

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from ranks import start

OPTIMISERS, STAGES = ("adamw", "lion", "ranger"), (0, 1, 2, 3)
EVERY = [(kind, zero) for kind in OPTIMISERS for zero in STAGES]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What `optimiser_resumes.py` tells with two ranks."""
    folder = tmp_path_factory.mktemp("resumes")
    script, log = str(Path(__file__).parent / "optimiser_resumes.py"), folder / "log.txt"
    ranks = start([sys.executable, script, str(folder)], size=2, log=log)
    assert [rank.wait(250) for rank in ranks] == [0, 0], log.read_text()
    return json.loads((folder / "told.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "zero"), EVERY)
def test_resumed_it_has_the_weights_of_a_training_that_nothing_disturbed(told, kind, zero):
    one = told[f"{kind}-{zero}"]
    assert one["seen"] == 28
    assert one["resumed"] == one["straight"]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "zero"), EVERY)
def test_every_zero_stage_takes_the_same_steps(told, kind, zero):
    assert told[f"{kind}-{zero}"]["loss"] == pytest.approx(told[f"{kind}-0"]["loss"], rel=1e-3)


@pytest.mark.slow
def test_optimisers_differ(told):
    assert len({told[f"{kind}-1"]["straight"] for kind in OPTIMISERS}) == len(OPTIMISERS)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "zero"), EVERY)
def test_every_group_keeps_its_own_rate_through_schedule_and_resume(told, kind, zero):
    """FM4NPP's public trainer has a scheduler that sets all groups to one rate, so µP is lost."""
    one = told[f"{kind}-{zero}"]
    assert sorted(one["own_rates"]) == pytest.approx([2.5e-4, 1e-3, 1e-3, 3e-3])
    assert one["rates"] == pytest.approx([one["factor"] * rate for rate in one["own_rates"]])
