"""Jobs and runs to schedule."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.job import Job
from pipeline.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run folder with a space in its path."""
    return Run(tmp_path / "my runs", "quickstart")


@pytest.fixture
def make_job(run: Run) -> Callable[..., Job]:
    """Make a job of one process on the laptop, unless told otherwise."""

    def make(*command: str, **changes: object) -> Job:
        asked: dict[str, object] = {
            "key": "pretrain-m0.1",
            "folder": run.path / "logs",
            "command": command or ("true",),
            "node": "laptop",
            "nodes": 1,
            "processes_per_node": 1,
            "walltime_minutes": 2,
        }
        return Job.model_validate(asked | changes)

    return make
