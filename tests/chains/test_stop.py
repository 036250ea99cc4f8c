"""An order to stop ends the controller and its pilots, and bars the next one."""

import subprocess
import time
from pathlib import Path

import pytest
from whole_campaign import command, run_campaign

from pipeline.chains import stop_requests
from pipeline.outcome import Exit
from pipeline.run import Run
from pipeline.scheduler import record

pytestmark = pytest.mark.slow


def test_a_controller_that_is_ordered_to_stop_ends_and_says_how_to_go_on(tmp_path: Path) -> None:
    run = Run(tmp_path, "tiny")
    with subprocess.Popen(
        command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as controller:
        deadline = time.monotonic() + 120
        while not any(run.path.glob("simulate/*/logs/part-*.log")):
            assert controller.poll() is None
            assert time.monotonic() < deadline, "the simulation never began"
            time.sleep(0.05)
        stop_requests.write(run.stop, "the queue is needed")
        _, told = controller.communicate(timeout=120)
    assert controller.returncode == Exit.BUSY
    words = " ".join(told.split())
    assert "(the queue is needed)" in words
    assert "To continue: cosmotron stop tiny --undo" in words
    assert "running links save and end by themselves" in words
    jobs = sorted(run.path.glob("local/jobs/*.json"))
    pilot = record.read(jobs[0])
    assert pilot is not None
    assert pilot.state is not None, "it would be charged for nothing"
    assert run_campaign(tmp_path).returncode == Exit.BUSY
    assert sorted(run.path.glob("local/jobs/*.json")) == jobs
