"""A real Slurm for the tests in this folder, brought up by `testbed` beside this file."""

import getpass
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

TESTBED = Path(__file__).with_name("testbed")
DAEMONS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd")


def unable() -> str:
    """Return why no test bed can be brought up here, "" if it can."""
    if os.geteuid() != 0:
        return "only root can bring up the Slurm test bed"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in DAEMONS if shutil.which(name, path=path) is None]
    return f"no {', '.join(missing)}: run {TESTBED} install" if missing else ""


def testbed(verb: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TESTBED, verb], capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="session")
def slurm() -> Iterator[dict[str, str]]:
    """A Slurm that runs, and the environment of its clients; taken down if it was brought up here.

    Another run of these tests on this machine has the test bed for itself: its jobs would be
    cancelled by us, and ours by it. COSMOTRON_REQUIRE_SLURM=1 makes it a failure that there is no
    Slurm.
    """
    reason = unable()
    if reason:
        give_up(reason)
    with FileLock(Path(tempfile.gettempdir()) / "cosmotron-testbed.tests.lock"):
        was_up = testbed("status").returncode == 0
        brought_up = testbed("up")
        if brought_up.returncode:
            give_up(brought_up.stderr)
        name, _, value = testbed("env").stdout.removeprefix("export ").strip().partition("=")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(name, value)
            yield {name: value}
        if not was_up:
            testbed("down")


def give_up(reason: str) -> None:
    required = os.environ.get("COSMOTRON_REQUIRE_SLURM") == "1"
    (pytest.fail if required else pytest.skip)(reason)


def asked(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


@pytest.fixture(scope="module", autouse=True)
def calm(slurm: dict[str, str]) -> None:
    """No job of another file's tests is left, and every node is idle."""
    asked("scancel", "--user", getpass.getuser())
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        jobs = asked("squeue", "--noheader")
        rows = set(asked("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines())
        busy = sorted(row for row in rows if not row.endswith(" idle"))
        if rows and not busy and not jobs:
            return
        for row in busy:
            if "down" in row or "drain" in row:
                asked("scontrol", "update", f"nodename={row.split()[0]}", "state=resume")
        time.sleep(1)
    pytest.fail(f"The test bed does not come to rest: {busy}\n{jobs}")
