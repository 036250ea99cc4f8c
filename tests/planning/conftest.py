"""A run to plan, and the raw files of its campaign."""

from pathlib import Path

import pytest
from staged_alone import write_sources

from pipeline.run import Run


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A folder of three raw files."""
    write_sources(tmp_path / "raw", 3)
    return tmp_path / "raw"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The run of a small campaign."""
    return Run(tmp_path / "runs", "c")
