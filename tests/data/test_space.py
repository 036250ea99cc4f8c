"""What a store will need on disk: told before it is made, near the truth, refused if too much."""

import os
import re
import subprocess

import pytest
from made_events import events, stage_task
from staged_alone import SMALL, command, stage, words_of, write_sources

from pipeline.data.experiments import experiment
from pipeline.data.program import run
from pipeline.data.readers import opened
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.simulation.sample import make
from pipeline.data.space import Room, check, free, needed
from pipeline.data.stage import STAGE, layout_of
from pipeline.outcome import Exit, NoRoomError

FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def do(folder, *steps):
    return [run(STAGE, [str(folder.path), *step.split()]) for step in steps]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Three files of 60 events as a detector sees them."""
    folder = tmp_path_factory.mktemp("raw")
    paths = [folder / f"spacepoints_{number:03d}.npz" for number in range(3)]
    for number, path in enumerate(paths):
        write_npz(path, make(60, seed=number, source=str(path)).events, labelled=True)
    return paths


def room(task):
    """Return what the store of `task` is said to need now."""
    with opened(task_path(task), experiment("sphenix")) as entries:
        return needed(task, layout_of(task), entries, task.files[0][1])


def task_path(task):
    return type(task.store)(task.files[0][1])


def taken(store):
    files = [path for path in store.rglob("*") if path.is_file()]
    return Room(sum(path.stat().st_size for path in files), len(files))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"neighbours": 0}, id="no-neighbours"),
        pytest.param({"neighbours": 30}, id="neighbours"),
        pytest.param({"neighbours": 0, "fractions": FRACTIONS}, id="fractions"),
        pytest.param({"neighbours": 0, "codec": "none"}, id="uncompressed"),
    ],
)
def test_what_is_told_is_near_what_the_store_takes(tmp_path, sources, changes):
    changes = {"events_per_shard": 20, "chunk_points": 8192, **changes}
    folder, task = stage_task(tmp_path, {"train": sources}, **changes)
    assert do(folder, "--begin") == [0]
    before = taken(task.store)
    told = room(task)
    assert do(folder, *(f"--part {n}" for n in range(3)), "--finish") == [0] * 4
    found = taken(task.store)
    ratio = told.bytes / (found.bytes - before.bytes)
    assert 1 / 1.5 < ratio < 1.5
    records = len([path for path in folder.parts.iterdir() if path.suffix == ".json"])
    assert told.files == pytest.approx(found.files + records, rel=0.25)


def test_staging_that_goes_on_asks_only_for_what_is_left(tmp_path, sources):
    folder, task = stage_task(tmp_path, {"train": sources}, events_per_shard=20, neighbours=0)
    do(folder, "--begin")
    whole = room(task)
    do(folder, "--part 0", "--part 1")
    third = room(task)
    assert third.bytes == pytest.approx(whole.bytes / 3, rel=0.5)
    assert third.files == pytest.approx(whole.files / 3, rel=0.2)
    do(folder, "--part 2", "--finish")
    left = room(task)
    assert left.bytes < 0.2 * whole.bytes
    assert left.files < 0.1 * whole.files


@pytest.mark.parametrize(
    ("room", "text"),
    [
        (Room(0, 3), "0 B in 3 files"),
        (Room(999, 1), "999 B in 1 files"),
        (Room(1_500, 12_000), "1.5 kB in 12,000 files"),
        (Room(81_234_000_000_000, 9), "81.2 TB in 9 files"),
    ],
    ids=str,
)
def test_numbers_are_as_people_read_them(room, text):
    assert str(room) == text


def test_a_disk_that_suffices_is_told_too(tmp_path):
    assert re.fullmatch(
        rf"{tmp_path}/no/store: needs about 5 B in 2 files; .* in [\d,]+ files are free\.",
        check(Room(5, 2), tmp_path / "no" / "store"),
    )


@pytest.mark.parametrize("need", [Room(10**18, 1), Room(1, 2**62)], ids=["bytes", "files"])
def test_what_does_not_fit_is_refused_with_both_numbers(tmp_path, monkeypatch, need):
    monkeypatch.setattr("pipeline.data.space.free", lambda _: Room(10**15, 10**9))
    with pytest.raises(NoRoomError) as told:
        check(need, tmp_path)
    assert f"needs about {need}, but only {Room(10**15, 10**9)} are free" in str(told.value)


@pytest.fixture
def small_disk(tmp_path, request):
    """Yield a folder on a small file system."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", request.param, "tmpfs", str(folder)]
    done = subprocess.run(options, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("small_disk", "free_there"),
    [("size=96k", r"[\d.]+ kB in [\d,]+ files"), ("size=40m,nr_inodes=60", r"[\d.]+ MB in \d\d f")],
    indirect=["small_disk"],
    ids=["bytes", "inodes"],
)
def test_a_disk_without_room_is_refused_before_anything_is_staged(tmp_path, small_disk, free_there):
    sources = tmp_path / "raw" / "spacepoints_000.npz"
    write_npz(sources, events([300] * 40), labelled=True)
    store = small_disk / "events.zarr"
    ended = stage(store, sources, "--events-per-shard", 8, "--neighbours", 20)
    assert ended.returncode == Exit.CANNOT_WRITE
    number = r"[\d.]+ kB in [\d,]+ files"
    assert re.search(rf"{store}: needs about {number}, but only {free_there}", words_of(ended))
    assert words_of(ended).count("error ") == 1
    assert list(store.glob("*/*")) == []


def test_a_disk_that_does_not_count_inodes_has_plenty(tmp_path, monkeypatch):
    class Answer:
        f_favail = 0

    monkeypatch.setattr(os, "statvfs", lambda _: Answer)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 7}))
    assert free(tmp_path / "not" / "yet") == Room(7, 2**63 - 1)


@pytest.mark.parametrize("how", ["--workers", pytest.param("--ranks", marks=pytest.mark.mpi)])
def test_the_command_tells_before_it_stages(tmp_path, how):
    if how == "--ranks":
        pytest.importorskip("mpi4py")
    store = tmp_path / "events.zarr"
    words = command(store, *write_sources(tmp_path / "raw", 3), *SMALL, how, 1)
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as job:
        told = job.stderr.readline()
        assert how == "--ranks" or not (store / "manifest.json").exists()
        job.communicate(timeout=60)
    assert re.match(rf"{store}: needs about [\d.]+ kB in \d+ files; ", told)
    assert job.returncode == 0
