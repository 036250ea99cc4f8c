"""A campaign with three faults at once; `make soak` injects ten kinds of them, for hours."""

import os
import random
import time
from pathlib import Path
from subprocess import Popen  # noqa: TC003

import pytest
from soak.bed import Bed
from soak.faults import kill_controller, node_down, silent_sbatch
from soak.once import soak
from whole_campaign import fingerprint, of_modes, with_modes

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def three_faults(bed: Bed, controller: "Popen[str]") -> str | None:
    """Let sbatch print nothing, fail a node under a training, and kill the controller."""
    silent_sbatch(bed, controller)
    while not bed.jobs("R", "pretrain"):
        assert controller.poll() is None
        time.sleep(0.2)
    effect = node_down(bed, controller)
    kill_controller(bed, controller)
    return effect


def test_faults_cost_time_and_nothing_else(
    slurm: dict[str, str], uninterrupted: Path, tmp_path: Path
) -> None:
    folder = Path(os.environ["SLURM_CONF"]).parent.parent / "scratch" / "faults"
    bed = Bed(folder, random.Random(5), with_modes(tmp_path, "frozen"))
    bed.prepare("testbed")
    found = soak(bed, [(1.0, three_faults)])
    log = bed.log.read_text()
    assert found.wrong == (), log
    assert found.runs == 2, log
    assert fingerprint(folder) == of_modes(fingerprint(uninterrupted), "frozen")
