"""What a controller costs the login node: memory, CPU and questions to the scheduler.

Slurm is played by small programs on PATH that take every job and say that it runs; the campaign is
as large as a real one, and its trainings wait for nothing.
"""

import os
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from pipeline import catalog
from pipeline.campaign import load_campaign
from pipeline.records import Product
from pipeline.run import Run

TINY = Path(__file__).parent.parent / "campaigns" / "tiny.toml"
TICKS = os.sysconf("SC_CLK_TCK")
COMMANDS = {
    "sbatch": "echo $RANDOM$RANDOM | sed 's/^0*/1/'",
    "squeue": "",
    "scancel": "",
    "sacctmgr": "echo m1",
    "sacct": """for id in $(echo "$*" | sed -n 's/.*--jobs=\\([0-9,]*\\).*/\\1/p' | tr , ' '); do
        echo "$id|RUNNING|60|1|1790000000|Unknown|0:0|nid1|0|x"; done""",
}


@dataclass(frozen=True)
class Cost:
    """What a controller took: seconds to the first job, peak MB, share of a core, questions."""

    tasks: int
    jobs: int
    first_job_seconds: float
    peak_mb: float
    core_share: float
    questions: int
    poll_seconds: int
    watched_seconds: float


def controller_cost(tasks: int = 2000, watched_seconds: float = 100.0) -> Cost:
    """Run a controller over a campaign of so many tasks, and watch it for a while."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        campaign, site = _declare(folder, tasks)
        calls = _commands(folder / "bin")
        words = ["run", str(campaign), "--site", str(site), "--root", str(folder), "--yes"]
        command = [sys.executable, "-m", "pipeline", *words, "--project", "m1"]
        environment = os.environ | {"PATH": f"{folder}/bin{os.pathsep}{os.environ['PATH']}"}
        began = time.monotonic()
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as controller:
            try:
                while not _count(calls, "sbatch") and controller.poll() is None:
                    time.sleep(0.05)
                first = time.monotonic() - began
                _until_steady(calls)
                before, asked = _cpu_seconds(controller.pid), _count(calls, "sacct")
                time.sleep(watched_seconds)
                spent = _cpu_seconds(controller.pid) - before
                peak = _peak_mb(controller.pid)
            finally:
                controller.kill()
        return Cost(
            tasks=len(load_campaign(str(campaign)).tasks(Run(folder, "tiny"))),
            jobs=_count(calls, "sbatch"),
            first_job_seconds=first,
            peak_mb=peak,
            core_share=spent / watched_seconds,
            questions=_count(calls, "sacct") - asked,
            poll_seconds=30,
            watched_seconds=watched_seconds,
        )


def _until_steady(calls: Path) -> None:
    """Wait until nothing has been submitted for ten seconds: what comes then is watching."""
    count = -1
    while count != _count(calls, "sbatch"):
        count = _count(calls, "sbatch")
        time.sleep(10)


def _declare(folder: Path, tasks: int) -> tuple[Path, Path]:
    """Write a campaign of about so many tasks whose data is there, and a site; return both."""
    campaign = tomllib.loads(TINY.read_text())
    cells = max(1, tasks // 7)  # each is followed by three fine-tunings and three evaluations
    campaign["pretrain"]["events"] = list(range(4, 4 + cells))
    path = folder / "tiny.toml"
    path.write_text(tomli_w.dumps(campaign))
    run = Run(folder, "tiny")
    for task in load_campaign(str(path)).tasks(run):
        if task.stage in ("simulate", "stage"):
            run.task(task.key).finish(Product(seconds=1.0))
    site = tomllib.loads((catalog.folder("sites") / "testbed.toml").read_text())
    site |= {"poll_seconds": 30, "submitted_jobs": 5000}
    site["pilot"].update(login_interface="lo", poll_seconds=30)
    declared = folder / "site.toml"
    declared.write_text(tomli_w.dumps(site))
    return path, declared


def _commands(folder: Path) -> Path:
    """Write the commands; return the file that they note their calls in."""
    folder.mkdir()
    calls = folder / "calls"
    for name, body in COMMANDS.items():
        path = folder / name
        path.write_text(f'#!/bin/bash\necho "{name}" >> "{calls}"\n{body}\n')
        path.chmod(0o755)
    return calls


def _count(calls: Path, name: str) -> int:
    return calls.read_text().splitlines().count(name) if calls.exists() else 0


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, Parsl's helper included."""
    children = subprocess.run(
        ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    return sum(map(_cpu_of, (str(pid), *children)))


def _cpu_of(pid: str) -> float:
    """Return the CPU time of one process, nothing of one that has just ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    sys.stdout.write(f"{controller_cost()}\n")
