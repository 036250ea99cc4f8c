"""The source files that `cosmotron stage` takes: names with wildcards in them, and doubles."""

import sys
from pathlib import Path
from typing import Any

import pytest
from staged_alone import write_sources

from pipeline.cli import main
from pipeline.data.store import Store
from pipeline.outcome import Exit


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run `cosmotron stage …` in this process; return the exit code and what was printed."""

    def run(store: Path, *words: object) -> tuple[int, str]:
        line = ["cosmotron", "stage", str(store), *map(str, words), "--workers", "1"]
        monkeypatch.setattr(sys, "argv", line)
        code = main()
        printed = capsys.readouterr()
        return code, " ".join((printed.out + printed.err).split())

    return run


def test_a_path_with_brackets_that_exists_is_that_file(tmp_path: Path, stage: Any) -> None:
    for number in (1, 2):
        write_sources(tmp_path / f"r{number}", 1, sizes=[20, 21])
    (path,) = write_sources(tmp_path / "r[12]", 1, sizes=[30, 31, 32])
    code, words = stage(tmp_path / "s.zarr", path)
    assert code == 0, words
    manifest = Store.open(tmp_path / "s.zarr").manifest
    assert [each.path for each in manifest.sources] == [str(path)]
    assert manifest.events == {"train": 3}


def test_a_pattern_without_a_match_is_one_message(tmp_path: Path, stage: Any) -> None:
    (path,) = write_sources(tmp_path / "raw", 1)
    code, words = stage(tmp_path / "s.zarr", path, tmp_path / "no" / "*.npz")
    assert code == Exit.USAGE
    assert f"{tmp_path}/no/*.npz: no file matches. Check the pattern and its folder" in words
    assert "Traceback" not in words
    assert not (tmp_path / "s.staging").exists()


def test_a_file_that_is_named_twice_is_refused(tmp_path: Path, stage: Any) -> None:
    (path,) = write_sources(tmp_path / "raw", 1)
    link = tmp_path / "again.npz"
    link.symlink_to(path)
    code, words = stage(tmp_path / "s.zarr", path, link)
    assert code == Exit.USAGE
    assert f"stage: {path} and {link} are one file (sources, twice)." in words
    assert not (tmp_path / "s.staging").exists()
