"""What tests of several rooms share."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings
from whole_campaign import run_campaign

from pipeline.cli import main

SLURM = "slurm"

# Tests run in a process more than there are cores. With threads beside, each waits, at full speed,
# for one that has no core: what takes seconds takes many minutes. Nothing has loaded OpenMP yet.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# An image that forbids bytecode would have the hundreds of programs that tests start compile the
# package again, each for itself.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How long an example takes says nothing where several processes share the cores.
settings.register_profile("shared cores", deadline=None)
settings.load_profile("shared cores")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than there are cores: one often waits for jobs without a core."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one process run all tests of a file, and all that use the one Slurm.

    The longest groups come first, so that in the end no process is alone with one of them: those
    that need Slurm, then files with slow tests. Otherwise the order stays as it is.
    """
    groups = {item: SLURM if item.get_closest_marker("slurm") else str(item.path) for item in items}
    slow = {groups[item] for item in items if item.get_closest_marker("slow")}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: (groups[item] != SLURM, groups[item] not in slow))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse a pytest of which xdist cannot keep groups together: tests would share one Slurm."""
    grouped = getattr(session.config.option, "loadgroup", False)  # in a worker alone
    if grouped and not all("@" in item.nodeid for item in session.items):
        message = "pytest-xdist ignores groups with this pytest: install that of constraints.txt"
        raise pytest.UsageError(message)


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of one run of the tiny campaign that nothing disturbed, for all test processes."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    root = base / "uninterrupted"
    with FileLock(base / "uninterrupted.lock"):
        if not (root / "ended").exists():
            ended = run_campaign(root)
            assert ended.returncode == 0, ended.stderr
            (root / "ended").touch()
    return root


class Told:
    """How a command line ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def words(self) -> str:
        """All that was printed, without line breaks."""
        return " ".join((self.out + self.err).split())


@pytest.fixture
def cosmotron(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command line in this process."""
    for name in ("COSMOTRON_PROJECT", "NERSC_HOST", "LMOD_SYSTEM_NAME", "SCRATCH"):
        monkeypatch.setenv(name, "")  # what a verb sets is undone then, too
        monkeypatch.delenv(name)

    def run(*words: object) -> Told:
        monkeypatch.setattr(sys, "argv", ["cosmotron", *map(str, words)])
        code = main()
        printed = capsys.readouterr()
        return Told(code, printed.out, printed.err)

    return run
