"""Staging that goes on where it was stopped, and two controllers that meet at one store."""

import os
import signal
import socket
import subprocess
import time

import numpy as np
import pytest
from made_events import events, stage_task
from staged_alone import SMALL, children, command, files_of, stage, words_of, write_sources

from pipeline.claims import holder
from pipeline.data import part
from pipeline.data import stage as staging
from pipeline.data.program import run
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.stage import STAGE
from pipeline.data.store import Store
from pipeline.outcome import Exit
from pipeline.run import TaskFolder

SIZES = [20, 30, 25, 40, 22, 35, 28, 31, 33, 27]  # three parts of four entries


class KilledError(BaseException):
    """Stands for kill -9: nothing handles it, unlike an exception, which is recorded."""


def do(folder, *steps):
    return [run(STAGE, [str(folder.path), *step.split()]) for step in steps]


def ages(store):
    return {
        path.relative_to(store).as_posix(): path.stat().st_mtime_ns
        for path in store.glob("train/*/**/*")
        if path.is_file()
    }


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "raw" / "spacepoints_000.npz"
    write_npz(path, events(SIZES), labelled=True)
    return path


@pytest.fixture
def killed(monkeypatch):
    """Let the process die before it makes part `at` of any file, as long as the body runs."""

    def die(folder, at):
        def make(layout, entries, identity, place):
            if place.part == at:
                raise KilledError
            return part.make_part(layout, entries, identity, place)

        with monkeypatch.context() as patch:
            patch.setattr(staging, "make_part", make)
            with pytest.raises(KilledError):
                do(folder, "--part 0")

    return die


@pytest.fixture
def uninterrupted(tmp_path, source):
    folder, task = stage_task(tmp_path, {"train": (source,)}, name="whole")
    assert do(folder, "--begin", "--part 0", "--finish") == [0, 0, 0]
    return files_of(task.store)


def test_parts_that_are_whole_are_not_written_again(tmp_path, source, killed, uninterrupted):
    folder, task = stage_task(tmp_path, {"train": (source,)})
    do(folder, "--begin")
    killed(folder, 2)
    before = ages(task.store)
    assert {name.split("/")[1] for name in before} == {"00000-000", "00000-001"}
    assert do(folder, "--part 0", "--finish") == [0, 0]
    after = ages(task.store)
    assert {name: after[name] for name in before} == before
    assert files_of(task.store) == uninterrupted


def test_a_part_that_was_damaged_in_between_is_made_again_and_no_other(
    tmp_path, source, killed, uninterrupted
):
    folder, task = stage_task(tmp_path, {"train": (source,)})
    do(folder, "--begin")
    killed(folder, 2)
    before = ages(task.store)
    (task.store / "train/00000-000/points/c/0/0").write_bytes(b"damage")
    assert do(folder, "--part 0", "--finish") == [0, 0]
    after = ages(task.store)
    kept = {name for name in before if after[name] == before[name]}
    assert {name.split("/")[1] for name in kept} == {"00000-001"}
    assert files_of(task.store) == uninterrupted


def test_a_source_that_changed_in_between_is_staged_anew(tmp_path, source, killed):
    folder, task = stage_task(tmp_path, {"train": (source,)}, order="file", neighbours=0)
    do(folder, "--begin")
    killed(folder, 2)
    write_npz(source, events(SIZES[:6], seed=9), labelled=True)
    assert do(folder, "--part 0", "--finish") == [0, 0]
    fresh, other = stage_task(
        tmp_path, {"train": (source,)}, order="file", neighbours=0, name="fresh"
    )
    assert do(fresh, "--begin", "--part 0", "--finish") == [0, 0, 0]
    assert files_of(task.store) == files_of(other.store)


def test_a_source_that_changed_after_it_was_staged_is_noticed(tmp_path, source, capsys):
    folder, task = stage_task(tmp_path, {"train": (source,)}, order="file", neighbours=0)
    assert do(folder, "--begin", "--part 0") == [0, 0]
    write_npz(source, events(SIZES[:6], seed=9), labelled=True)
    assert do(folder, "--finish") == [Exit.BAD_INPUT]
    assert "are damaged, or it has changed since. Run --part 0." in capsys.readouterr().err
    assert do(folder, "--part 0", "--finish") == [0, 0]
    assert sorted(path.name for path in (task.store / "train").iterdir()) == [
        "00000-000",
        "00000-001",
    ]
    assert Store.open(task.store).events("train") == 6


def test_a_label_file_that_changed_is_noticed_too(tmp_path, source):
    folder, task = stage_task(tmp_path, {"train": (source,)})
    assert do(folder, "--begin", "--part 0", "--finish") == [0, 0, 0]
    labels = source.with_name("pid_labels_000.npz")
    np.savez(labels, data=np.full(sum(SIZES), 3, np.int8))
    assert do(folder, "--part 0", "--finish") == [0, 0]
    assert set(Store.open(task.store).shards("train")[0].read(("pid",))["pid"]) == {3}


def test_a_source_that_was_touched_keeps_its_parts(tmp_path, source):
    folder, task = stage_task(tmp_path, {"train": (source,)})
    assert do(folder, "--begin", "--part 0", "--finish") == [0, 0, 0]
    before = ages(task.store)
    os.utime(source, (1, 1))
    assert do(folder, "--part 0", "--finish") == [0, 0]
    assert ages(task.store) == before


def test_a_source_that_is_gone_leaves_the_store_whole(tmp_path, source):
    folder, _ = stage_task(tmp_path, {"train": (source,)})
    assert do(folder, "--begin", "--part 0") == [0, 0]
    source.unlink()
    assert do(folder, "--part 0", "--finish") == [0, 0]


def test_what_killed_processes_left_in_the_store_is_removed(tmp_path, source, uninterrupted):
    folder, task = stage_task(tmp_path, {"train": (source,)})
    task.store.mkdir()
    for name in (".bins.json.99.tmp", ".tables.npz.99.tmp", ".manifest.json.99.tmp"):
        (task.store / name).write_text("half")
    (task.store / "train/.00000-001.99.tmp/points").mkdir(parents=True)
    assert do(folder, "--begin", "--part 0", "--finish") == [0, 0, 0]
    assert files_of(task.store) == uninterrupted
    assert not (task.store / "train/.00000-001.99.tmp").exists()


@pytest.mark.parametrize("how", ["--workers", pytest.param("--ranks", marks=pytest.mark.mpi)])
def test_of_two_controllers_one_works_and_the_other_says_who(tmp_path, how):
    if how == "--ranks":
        pytest.importorskip("mpi4py")
    sources = write_sources(tmp_path / "raw", 3)
    store = tmp_path / "events.zarr"
    claim = TaskFolder(store.with_suffix(".staging")).claim
    words = [*sources, *SMALL]
    first = subprocess.Popen(
        command(store, *words, "--workers", 1),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with first:
        while holder(claim) is None:
            assert first.poll() is None, first.stderr.read()
            time.sleep(0.005)
        os.kill(first.pid, signal.SIGSTOP)
        second = stage(store, *words, how, 2)
        os.kill(first.pid, signal.SIGCONT)
        _, told = first.communicate(timeout=60)
    assert first.returncode == 0, told
    assert second.returncode == Exit.BUSY
    expected = f"process {first.pid} on {socket.gethostname()} is at work here. Wait for it, or"
    assert expected in words_of(second)
    assert words_of(second).count("error ") == 1
    assert Store.open(store).events("train") == 3 * 7
    assert stage(store, *words, "--workers", 2).returncode == 0


@pytest.mark.mpi
def test_a_controller_that_meets_ranks_at_work_says_which_process_they_are(tmp_path):
    pytest.importorskip("mpi4py")
    sources = write_sources(tmp_path / "raw", 3)
    store = tmp_path / "events.zarr"
    claim = TaskFolder(store.with_suffix(".staging")).claim
    with subprocess.Popen(
        command(store, *sources, *SMALL, "--ranks", 2), stderr=subprocess.PIPE, text=True
    ) as first:
        while (rank := holder(claim)) is None or rank.pid == first.pid:
            assert first.poll() is None, first.stderr.read()
            time.sleep(0.005)
        os.kill(rank.pid, signal.SIGSTOP)
        second = stage(store, *sources, *SMALL, "--workers", 1)
        os.kill(rank.pid, signal.SIGCONT)
        _, told = first.communicate(timeout=60)
    assert first.returncode == 0, told
    assert second.returncode == Exit.BUSY
    assert f"process {rank.pid} on {socket.gethostname()} is at work" in words_of(second)


def test_a_bad_file_stops_what_has_not_begun(tmp_path):
    sources = write_sources(tmp_path / "raw", 6)
    sources[1].write_bytes(b"PK no")
    store = tmp_path / "events.zarr"
    ended = stage(store, *sources, *SMALL, "--workers", 1)
    assert ended.returncode == Exit.BAD_INPUT
    assert words_of(ended).count(str(sources[1])) == 1
    assert {path.name[:5] for path in store.glob("train/*")} <= {"00000", "00002"}
    assert not (store / "manifest.json").exists()


def test_a_killed_worker_is_told_not_an_older_failure(tmp_path):
    sources = write_sources(tmp_path / "raw", 2)
    whole = sources[1].read_bytes()
    sources[1].write_bytes(b"PK no")
    store = tmp_path / "events.zarr"
    words = [*sources, *SMALL, "--workers", 1]
    assert stage(store, *words).returncode == Exit.BAD_INPUT
    sources[1].write_bytes(whole)
    result = store.with_suffix(".staging") / "result.json"
    with subprocess.Popen(command(store, *words), stderr=subprocess.PIPE, text=True) as job:
        while result.exists() or not (found := children(job.pid)):
            assert job.poll() is None, job.stderr.read()
            time.sleep(0.005)
        os.kill(found[0], signal.SIGKILL)
        _, told = job.communicate(timeout=60)
    assert job.returncode == Exit.FAILED
    assert "was killed (SIGKILL)" in told
    assert "spacepoints_001" not in told
    assert stage(store, *words).returncode == 0
