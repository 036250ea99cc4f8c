"""A run folder on a full disk, or on one that cannot be written: one message, and nothing torn."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_campaign import run_campaign

from pipeline.outcome import Exit


@pytest.fixture
def mounted(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A small file system of its own, with the mount options that the test gives."""
    command = ["mount", "-t", "tmpfs", "-o", request.param, "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("mounted", ["size=400k"], indirect=True)
def test_a_full_disk_ends_the_run_and_leaves_nothing_that_looks_whole(mounted: Path) -> None:
    ended = run_campaign(mounted)
    assert ended.returncode in (Exit.FAILED, Exit.CANNOT_WRITE)
    assert "no space left" in ended.stderr.lower()
    assert "Traceback" not in ended.stderr
    assert not [path for path in mounted.rglob("*.tmp") if "claim" not in path.name]
    assert not list(mounted.glob("tiny/data/*/manifest.json"))
    assert not (mounted / "tiny/stage/unlabelled/DONE").exists()


@pytest.mark.parametrize("mounted", ["ro"], indirect=True)
def test_an_unwritable_run_folder_is_refused_at_once(mounted: Path) -> None:
    ended = run_campaign(mounted)
    assert ended.returncode == Exit.CANNOT_WRITE
    message = (
        f"{mounted}/tiny: Read-only file system. "
        "Get write permission there, or write elsewhere (run --root, or another store for stage); "
        "then run again."
    )
    assert message in " ".join(ended.stderr.split())
