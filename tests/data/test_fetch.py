"""A store at an address is copied into the run, each file held to its manifest."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_servers import FileServer, serving
from small_campaign import campaign, finish
from staged_alone import write_sources

from pipeline.campaign import FetchTask, declare
from pipeline.data import fetch, source
from pipeline.data.errors import BadInput
from pipeline.data.fetch import manifest_at
from pipeline.data.program import run_whole
from pipeline.data.store import Store
from pipeline.outcome import Exit
from pipeline.run import Run, TaskFolder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a campaign."""
    folder = tmp_path_factory.mktemp("made")
    write_sources(folder / "raw", 3)
    first = Run(folder, "first")
    finish(campaign(folder, folder / "raw").tasks(first)[:1], first)
    return first.store("ours")


@pytest.fixture
def server(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server of a copy of the store, as pp.zarr."""
    monkeypatch.setattr(source, "FIRST_WAIT_SECONDS", 0.01)
    shutil.copytree(made, tmp_path / "there" / "pp.zarr")
    with serving(tmp_path / "there") as found:
        yield found


@pytest.fixture
def folder(server: FileServer, tmp_path: Path) -> TaskFolder:
    """The folder of a declared task that fetches the store."""
    run = Run(tmp_path / "runs", "c")
    task = FetchTask(key="fetch/ours", address=f"{server.address}/pp.zarr", store=run.store("ours"))
    declare(run.task(task.key), task)
    return run.task(task.key)


def fetched(folder: TaskFolder) -> int:
    return run_whole("fetch", FetchTask, fetch.fetch, [str(folder.path)])


def store_of(folder: TaskFolder) -> Path:
    return folder.path.parent.parent / "data" / "ours.zarr"


def content(store: Path) -> dict[str, bytes]:
    files = (path for path in store.rglob("*") if path.is_file())
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


def test_the_copy_is_the_store(folder: TaskFolder, made: Path) -> None:
    assert fetched(folder) == Exit.FINISHED
    assert folder.is_done
    assert content(store_of(folder)) == content(made)
    Store.open(store_of(folder)).verify()


def test_a_copy_goes_on_at_the_first_missing_shard(
    folder: TaskFolder, server: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = sorted((server.folder / "pp.zarr" / "train").iterdir())
    shards[-1].rename(server.folder / "away")
    assert fetched(folder) == Exit.BAD_INPUT
    assert f"{server.address}/pp.zarr/train/{shards[-1].name}/" in capsys.readouterr().err
    assert not (store_of(folder) / "manifest.json").exists()
    (server.folder / "away").rename(shards[-1])
    server.asked.clear()
    assert fetched(folder) == Exit.FINISHED
    there = {path for path in server.asked if f"/{shards[0].name}/" in path and "train" in path}
    assert not there, "it was whole"


def test_a_changed_byte_is_found(
    folder: TaskFolder, server: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = min((server.folder / "pp.zarr" / "train").iterdir())
    path = next(path for path in shard.rglob("*") if path.is_file() and path.suffix != ".json")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert fetched(folder) == Exit.BAD_INPUT
    told = capsys.readouterr().err
    assert "not what the manifest of the store says (SHA-256 differs)" in told
    assert not folder.is_done
    assert not list(store_of(folder).glob("train/.*")), "nothing half-copied stays"


def test_a_damaged_manifest_is_one_message(server: FileServer, tmp_path: Path) -> None:
    manifest = server.folder / "pp.zarr" / "manifest.json"
    manifest.write_text(manifest.read_text()[:-9])
    with pytest.raises(BadInput, match=r"pp.zarr: its manifest.json is damaged, or of another ver"):
        manifest_at(f"{server.address}/pp.zarr", tmp_path / "manifest")
    with pytest.raises(BadInput, match=r"no.zarr/manifest.json: not there. Check the address."):
        manifest_at(f"{server.address}/no.zarr", tmp_path / "manifest")
