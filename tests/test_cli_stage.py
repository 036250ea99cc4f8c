"""The source files that `cosmotron stage` takes: names with wildcards in them, and doubles."""

import hashlib
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest
import tomli_w
from small_campaign import finish
from staged_alone import write_sources

from pipeline.campaign import load_campaign
from pipeline.campaign.sections import Order
from pipeline.cli import main
from pipeline.cli.data import ORDERS
from pipeline.data.program import run as run_program
from pipeline.data.stage import STAGE
from pipeline.data.store import Store
from pipeline.data.store.summary import summary
from pipeline.outcome import Exit
from pipeline.run import Run, TaskFolder
from pipeline.workflow import alone


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


def listed(folder: Path, *paths: Path, wrong: Path | None = None) -> Path:
    """Write what sha256sum writes of `paths`, another hash for that which is `wrong`."""
    lines = []
    for path in paths:
        content = b"another" if path == wrong else path.read_bytes()
        lines.append(f"{hashlib.sha256(content).hexdigest()}  {path.name}\n")
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder / "SHA256SUMS"


def test_files_are_held_to_a_list_of_hashes(tmp_path: Path, stage: Any) -> None:
    paths = write_sources(tmp_path / "raw", 2, sizes=[30, 31, 32])
    known = listed(tmp_path, *paths)
    code, words = stage(tmp_path / "s.zarr", *paths, "--sha256", known)
    assert code == 0, words
    facts = summary(Store.open(tmp_path / "s.zarr"))
    assert facts["verified"] == {"SHA-256 in SHA256SUMS": 2}


def test_what_verifies_a_file_without_a_list_is_told(tmp_path: Path, stage: Any) -> None:
    code, words = stage(tmp_path / "s.zarr", *write_sources(tmp_path / "raw", 1, sizes=[30, 31]))
    assert code == 0, words
    assert summary(Store.open(tmp_path / "s.zarr"))["verified"] == {"CRC-32 of members": 1}


@pytest.mark.parametrize("number", [0, 1])
def test_a_file_of_another_hash_is_refused(tmp_path: Path, stage: Any, number: int) -> None:
    paths = write_sources(tmp_path / "raw", 2, sizes=[30, 31, 32])
    known = listed(tmp_path, *paths, wrong=paths[number])
    code, words = stage(tmp_path / "s.zarr", *paths, "--sha256", known)
    assert code == Exit.BAD_INPUT
    assert f"{paths[number]}: its SHA-256 is " in words
    assert "The file is damaged or another version; fetch it again." in words
    assert not (tmp_path / "s.zarr" / "manifest.json").exists()


def test_a_file_that_is_not_in_the_list_is_refused(tmp_path: Path, stage: Any) -> None:
    paths = write_sources(tmp_path / "raw", 2, sizes=[30, 31, 32])
    code, words = stage(tmp_path / "s.zarr", *paths, "--sha256", listed(tmp_path, paths[0]))
    assert code == Exit.BAD_INPUT
    assert f"{paths[1]}: not in the list {tmp_path}/SHA256SUMS. Add its hash: sha256sum" in words


def test_what_an_error_advises_can_be_typed(tmp_path: Path, stage: Any) -> None:
    path = tmp_path / "ice.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("SRTInIcePulses", "SplitInIcePulses"):
            connection.execute(
                f"CREATE TABLE {table} (event_no, dom_x, dom_y, dom_z, dom_time, charge)"
            )
            connection.execute(f"INSERT INTO {table} VALUES (1, 1.0, 2.0, 3.0, 4.0, 5.0)")
    words = (tmp_path / "s.zarr", path, "--experiment", "graphnet")
    code, told = stage(*words)
    assert code == Exit.BAD_INPUT
    assert "or --reader pulses=SRTInIcePulses" in told
    code, told = stage(*words, "--reader", "pulses=SRTInIcePulses")
    assert code == 0, told
    code, told = stage(*words, "--reader", "pulses=SplitInIcePulses")
    assert code == Exit.USAGE, "something was made: the store is kept"
    assert "was declared differently before" in told


def test_the_help_of_stage_lists_the_orders_that_a_campaign_may_ask_for() -> None:
    assert ORDERS.split(", ") == list(get_args(Order))


def test_a_store_that_cannot_be_written_is_told_as_stage_has_it(tmp_path: Path, stage: Any) -> None:
    (tmp_path / "file").write_text("x")
    code, words = stage(tmp_path / "file" / "x.zarr", tmp_path / "any.npz")
    assert code == Exit.CANNOT_WRITE
    assert "Not a directory. Get write permission there, or write elsewhere (run" in words
    assert "another store for stage" in words


def declared(folder: Path, raw: Path, **keys: object) -> Path:
    """Write a campaign whose datasets are of the files in `raw`, with these keys."""
    splits = {"train": ["*_00[1-9].npz"], "test": ["*_000.npz"]}
    ours = {"experiment": "sphenix", "folder": str(raw), "splits": splits, **keys}
    sampled = {"experiment": "sphenix", "format": "npz", "files": {"train": 1}}
    content = {
        "name": "c",
        "simulations": {"sampled": {**sampled, "events_per_file": 5}},
        "datasets": {
            "ours": ours,
            "theirs": {**ours, "bins_from": "ours", "order": "EPR"},
            "simulated": {"experiment": "sphenix", "simulation": "sampled"},
            "staged": {"experiment": "sphenix", "store": "/shared/pp.zarr"},
        },
    }
    (folder / "c.toml").write_text(tomli_w.dumps(content))
    return folder / "c.toml"


@pytest.mark.usefixtures("here")
def test_a_store_is_staged_as_a_campaign_would(tmp_path: Path, stage: Any) -> None:
    write_sources(tmp_path / "raw", 3)
    file = declared(tmp_path, tmp_path / "raw", neighbours=2, bins=[2, 2, 3], order="EPR")
    code, words = stage(tmp_path / "s.zarr", "--like", f"{file}:ours")
    assert code == 0, words
    run = Run(tmp_path / "runs", "c")
    campaign = load_campaign(str(file))
    finish([task for task in campaign.tasks(run) if task.key == "stage/ours"], run)
    ours, theirs = (Store.open(path).manifest for path in (tmp_path / "s.zarr", run.store("ours")))
    assert ours == theirs, "the same, so that trainings on one are trainings on the other"
    voxels = ("--bins-from", tmp_path / "s.zarr")
    code, words = stage(tmp_path / "t.zarr", "--like", f"{file}:theirs", *voxels)
    assert code == 0, words
    bins = [(tmp_path / name / "bins.json").read_text() for name in ("s.zarr", "t.zarr")]
    assert bins[0] == bins[1]


@pytest.mark.parametrize(
    ("like", "options", "told"),
    [
        ("ous", [], "no such dataset: ours, theirs, simulated, staged."),
        ("theirs", [], "its voxels are those of 'ours': name the store of that with --bins-from."),
        ("simulated", [], "its files are simulated: name those to stage, and their --split."),
        ("staged", [], "it is staged already, in /shared/pp.zarr. Copy that."),
        ("ours", ["--order", "EPR", "--codec", "lz4"], "leave --order, --codec out."),
    ],
)
def test_what_does_not_say_how_to_stage_is_one_message(
    tmp_path: Path, stage: Any, like: str, options: list[str], told: str
) -> None:
    file = declared(tmp_path, tmp_path / "raw")
    code, words = stage(tmp_path / "s.zarr", "--like", f"{file}:{like}", *options)
    assert code == Exit.USAGE
    assert told in words
    assert not (tmp_path / "s.staging").exists()


def test_nothing_to_stage_is_said(tmp_path: Path, stage: Any) -> None:
    code, words = stage(tmp_path / "s.zarr")
    assert code == Exit.USAGE
    assert "name the source files to stage, or a campaign's dataset with --like." in words
    code, words = stage(tmp_path / "s.zarr", "--like", "quickstart")
    assert code == Exit.USAGE
    assert "CAMPAIGN:DATASET is expected, as in quickstart:labelled" in words


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the programs of a staging in this process, which is quicker."""

    def run_here(command: Sequence[str], folder: TaskFolder) -> None:
        log = folder.logs / "here.log"
        alone._check("its program", run_program(STAGE, command[3:]), folder, log)

    monkeypatch.setattr(alone, "_run", run_here)


def content(store: Path) -> dict[str, bytes]:
    """All files of a store."""
    files = (path for path in store.rglob("*") if path.is_file())
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("before", "now"),
    [
        (["a", "b", "bad"], ["b", "c"]),
        (["a", "b", "bad"], ["a"]),
        (["a", "b", "bad"], ["a", "b", "--split", "test", "--order", "hilbert"]),
        (["a", "b", "bad", "--neighbours", "2"], ["a", "b", "c", "--neighbours", "3"]),
        (["a", "b", "bad", "--fractions", "train=0.5,test=0.5"], ["a", "b", "c"]),
    ],
)
def test_a_store_that_is_not_whole_is_staged_on_as_it_is_asked_now(
    tmp_path: Path, stage: Any, before: list[str], now: list[str]
) -> None:
    paths = write_sources(tmp_path / "raw", 3, sizes=[30, 31, 32, 33])
    named = dict(zip("abc", paths, strict=True))
    named["bad"] = tmp_path / "raw" / "bad.npz"
    named["bad"].write_bytes(b"no zip")
    code, words = stage(tmp_path / "s.zarr", *(named.get(each, each) for each in before))
    assert code != 0, words
    assert list((tmp_path / "s.zarr").glob("*/00001-*")), words
    code, words = stage(tmp_path / "s.zarr", *(named.get(each, each) for each in now))
    assert code == 0, words
    code, words = stage(tmp_path / "fresh.zarr", *(named.get(each, each) for each in now))
    assert code == 0, words
    assert content(tmp_path / "s.zarr") == content(tmp_path / "fresh.zarr")


@pytest.mark.usefixtures("here")
def test_shards_of_sources_that_stay_are_not_made_again(tmp_path: Path, stage: Any) -> None:
    paths = write_sources(tmp_path / "raw", 3, sizes=[30, 31, 32, 33])
    (tmp_path / "bad.npz").write_bytes(b"no zip")
    code, _ = stage(tmp_path / "s.zarr", *paths[:2], tmp_path / "bad.npz")
    assert code != 0
    shards = sorted((tmp_path / "s.zarr" / "train").iterdir())
    made = {shard: shard.stat().st_ino for shard in shards}
    code, words = stage(tmp_path / "s.zarr", paths[0], paths[2])
    assert code == 0, words
    kept = [shard.name for shard in shards if shard.exists() and shard.stat().st_ino == made[shard]]
    assert kept == ["00000-000"]
