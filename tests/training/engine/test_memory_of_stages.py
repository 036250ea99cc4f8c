"""What `plan` predicts of weights, gradients and optimiser is what DeepSpeed allocates."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("deepspeed")

from ranks import training

from pipeline.families.fm4npp.spec import FM4NPPMamba2
from pipeline.planning.memory import states

SCRIPT = Path(__file__).parent / "memory_of_stages.py"


@pytest.mark.slow
def test_a_step_of_each_stage_needs_what_is_predicted():
    ended = subprocess.run(
        [sys.executable, SCRIPT], capture_output=True, text=True, check=True, timeout=300
    )
    lines = [line for line in ended.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == 6
    parameters = FM4NPPMamba2(width=256, layers=2, neighbours=4).parameters()
    for precision, zero, measured in map(json.loads, lines):
        asked = training(precision=precision, zero=zero, batch_events=1, devices=1)
        expected = states(parameters, asked) / parameters.trained
        assert expected == pytest.approx(measured, rel=0.15), (precision, zero)
