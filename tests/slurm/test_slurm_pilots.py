"""Pilots that a real Slurm takes away while tasks run in them are replaced."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from scheduler_fakes import tiny_plan
from slurm.conftest import asked

pytest.importorskip("parsl")

from lost_pilots import Running, running

from pipeline.chains.job_manager import JobManager
from pipeline.planning.plan import PILOT
from pipeline.scheduler import connect
from pipeline.workflow import pilots

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    # Parsl leaves the socket open by which it asks for an interface's address
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"
    ),
]
ODD = """my runs $HOME 'ä' "ü" {x}"""


def resumed(node: str) -> None:
    """Bring a node back; Slurm refuses until the processes that ran there are gone."""
    for _ in range(30):
        asked("scontrol", "update", f"nodename={node}", "state=resume")
        if "down" not in asked("sinfo", "-h", "-n", node, "-o", "%T"):
            return
        time.sleep(1)


def scancel(job_id: str, node: str) -> None:
    """Cancel the pilot by hand."""
    subprocess.run(["scancel", job_id], check=True)


def node_down(job_id: str, node: str) -> None:
    """Set the node under the pilot down."""
    down = ["scontrol", "update", f"nodename={node}", "state=down", "reason=test"]
    subprocess.run(down, check=True)


@pytest.mark.parametrize(("take", "ended"), [(scancel, "cancelled"), (node_down, "node_fail")])
def test_a_pilot_that_slurm_takes_away_is_replaced(
    slurm: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    take: Callable[[str, str], None],
    ended: str,
) -> None:
    monkeypatch.setattr(pilots, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(pilots, "SILENT_SECONDS", 5)
    plan = tiny_plan(tmp_path / ODD, "testbed", project="m4722")
    manager = JobManager(plan, connect(plan.site, plan.run))
    with running(manager) as works:
        log = plan.run.path / "log of ü"
        future = works.task(f"echo begun; while [ ! -e '{tmp_path}/go' ]; do sleep 0.1; done", log)
        works.wait(lambda: log.exists() and "begun" in log.read_text())
        (job,) = [each.job_id for each in manager.unended(PILOT)]
        node = asked("squeue", "-h", "-j", job, "-o", "%N").strip()
        try:
            take(job, node)
            works.wait(lambda: has_replaced(works))
        finally:
            resumed(node)
        (tmp_path / "go").touch()
        works.wait(future.done)
        assert future.result() == 0
    assert f"Pilot {job} ended {ended}" in works.news[0]
    assert len(list(plan.run.parsl.glob("tiny.pilot.*.log"))) == 2


def has_replaced(works: Running) -> bool:
    return any("replaces" in line for line in works.news)
