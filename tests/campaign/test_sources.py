"""Patterns of source files: names that look like patterns, links, and files listed twice."""

import os
from pathlib import Path

import pytest

from pipeline.campaign import Dataset
from pipeline.campaign.sources import check_each_once, found, sources_of
from pipeline.catalog import DeclarationError


def made(folder: Path, *names: str) -> list[str]:
    """Make small files of these names; return their paths."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return [str(folder / name) for name in names]


def sources(folder: Path | str, elsewhere: bool = False, **splits: list[str]):
    declared = {"experiment": "sphenix", "folder": str(folder), "splits": splits}
    return sources_of("pp", Dataset.model_validate(declared), elsewhere=elsewhere)


@pytest.mark.parametrize("name", ["r[12].npz", "r*.npz", "r?.npz", "a[b]/r[12].npz"])
def test_a_name_that_exists_is_that_file(tmp_path: Path, name: str) -> None:
    made(tmp_path, "r1.npz", "r2.npz", "rx.npz", "ab/r1.npz")
    (path,) = made(tmp_path, name)
    assert found(path) == (path,)
    assert sources(tmp_path, train=[name]) == {"train": (path,)}


def test_folders_that_exist_by_their_names_are_no_patterns(tmp_path: Path) -> None:
    made(tmp_path, "r1/f0.npz", "r2/f0.npz")
    here = made(tmp_path, "r[12]/f0.npz", "r[12]/f1.npz")
    assert found(f"{tmp_path}/r[12]/f*.npz") == tuple(here)
    assert sources(tmp_path / "r[12]", train=["*.npz"]) == {"train": tuple(here)}
    assert sources(tmp_path, train=["r[12]/*.npz"]) == {"train": tuple(here)}


def test_without_such_a_name_it_is_a_pattern(tmp_path: Path) -> None:
    here = made(tmp_path, "r1/f.npz", "r2/f.npz")
    assert found(f"{tmp_path}/r[12]/f.npz") == tuple(here)
    assert found(f"{tmp_path}/**/f.npz") == tuple(here)


def test_a_pattern_that_matches_nothing_beside_one_that_does_is_told(tmp_path: Path) -> None:
    made(tmp_path, "a0.npz")
    with pytest.raises(DeclarationError, match=r"splits\.train: no file matches b\*\.npz below"):
        sources(tmp_path, train=["a*.npz", "b*.npz"])


def test_a_folder_that_is_relative_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = made(tmp_path, "raw/a.npz")
    monkeypatch.chdir(tmp_path)
    assert sources("raw", train=["*.npz"]) == {"train": tuple(here)}


def test_a_link_that_leads_nowhere_is_told_and_not_left_out(tmp_path: Path) -> None:
    made(tmp_path, "a0.npz")
    (tmp_path / "a1.npz").symlink_to(tmp_path / ".git/annex/objects/a1")
    with pytest.raises(DeclarationError) as told:
        sources(tmp_path, train=["*.npz"])
    assert (
        f"datasets.pp.splits.train: 1 of 2 files are links to what is not there, the first is "
        f"{tmp_path}/a1.npz. Fetch them (git annex get" in str(told.value)
    )
    assert len(sources(tmp_path, elsewhere=True, train=["*.npz"])["train"]) == 2


def twice(tmp_path: Path, **splits: list[str]) -> str:
    with pytest.raises(DeclarationError) as told:
        sources(tmp_path, **splits)
    return str(told.value)


def test_a_file_of_two_patterns_is_refused(tmp_path: Path) -> None:
    (path,) = made(tmp_path, "a0.npz")
    assert twice(tmp_path, train=["*.npz", "a*.npz"]) == (
        f"datasets.pp.splits: {path} is listed (train, twice). Its events would be staged twice; "
        "list it once."
    )


def test_a_file_of_two_splits_is_refused(tmp_path: Path) -> None:
    made(tmp_path, "a0.npz", "a1.npz")
    assert "a1.npz is listed (train and test)" in twice(tmp_path, train=["*"], test=["a1.npz"])


@pytest.mark.parametrize("linked", ["file", "folder", "chain", "both"])
def test_a_file_by_another_name_is_refused_with_both(tmp_path: Path, linked: str) -> None:
    (path,) = made(tmp_path, "raw/a0.npz")
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "b0.npz"
    if linked == "file":
        other.symlink_to(path)
    elif linked == "chain":
        (tmp_path / "step").symlink_to(path)
        other.symlink_to("../step")
    elif linked == "folder":
        (tmp_path / "other" / "raw").symlink_to(tmp_path / "raw")
        other = tmp_path / "other" / "raw" / "a0.npz"
    else:
        (tmp_path / "other" / "raw").symlink_to(tmp_path / "raw")
        other.symlink_to(tmp_path / "other" / "raw" / "a0.npz")
    told = twice(tmp_path, train=["raw/*.npz"], test=[os.path.relpath(other, tmp_path)])
    assert f"{path} and {other} are one file (train and test)" in told


def test_equal_addresses_are_refused() -> None:
    check_each_once("here", {"train": ["https://h/a", "https://h/b"], "test": ["https://h/c"]})
    with pytest.raises(DeclarationError, match="https://h/a is listed"):
        check_each_once("here", {"train": ["https://h/a"], "test": ["https://h/a"]})
