"""An order to stop ends the controller at once, lets its training save, and bars the next one."""

import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from whole_campaign import command, run_campaign

from pipeline.run import Exit, Run, TaskFolder
from pipeline.scheduler import record
from pipeline.scheduler.record import Record
from pipeline.workflow import stops

pytestmark = pytest.mark.slow


class Stopped(NamedTuple):
    """A run that was stopped: how the controller ended, and how the training's job."""

    root: Path
    code: int
    told: str
    folder: TaskFolder
    job: Record


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """A run that was ordered to stop as its pretraining started."""
    root = tmp_path_factory.mktemp("stopped")
    run = Run(root, "tiny")
    folder = run.task("pretrain/m-d24-s1")
    with subprocess.Popen(
        command(root), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as controller:
        deadline = time.monotonic() + 120
        while not folder.heartbeat.exists():
            assert controller.poll() is None, controller.stderr and controller.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        stops.give(run.stop, "the queue is needed")
        _, told = controller.communicate(timeout=60)
    path = next(run.path.glob("local/jobs/*pretrain*.json"))
    while (job := record.read(path)) is None or job.state is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return Stopped(root, controller.returncode, " ".join(told.split()), folder, job)


def test_the_controller_ends_and_says_who_why_and_how_to_go_on(stopped: Stopped) -> None:
    assert stopped.code == Exit.BUSY
    assert "(the queue is needed)" in stopped.told
    assert "To go on: cosmotron stop tiny --undo" in stopped.told
    assert "links that run save and end by themselves" in stopped.told


def test_the_training_saves_and_asks_to_be_continued(stopped: Stopped) -> None:
    assert stopped.job.exit_code == Exit.CONTINUE
    assert list(stopped.folder.checkpoints.glob("step-*[0-9]"))
    assert not stopped.folder.is_done


def test_while_it_stands_nothing_runs(stopped: Stopped) -> None:
    jobs = sorted(stopped.root.glob("tiny/local/jobs/*"))
    ended = run_campaign(stopped.root)
    assert ended.returncode == Exit.BUSY
    assert sorted(stopped.root.glob("tiny/local/jobs/*")) == jobs
