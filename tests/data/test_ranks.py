"""MPI ranks: work shared out, real mpiexec jobs, and what becomes of them when something dies."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from staged_alone import SMALL, command, files_of, stage, words_of, write_sources

from pipeline.data import ranks
from pipeline.data.ranks import shared_out
from pipeline.outcome import Exit

weights = st.lists(st.integers(0, 10**12), max_size=40)


@settings(deadline=None, max_examples=25)
@given(weights, st.integers(1, 60))
def test_every_part_is_somebodys_and_nobody_elses(parts, count):
    shares = [shared_out(parts, rank, count) for rank in range(count)]
    assert sorted(part for share in shares for part in share) == list(range(len(parts)))


@settings(deadline=None, max_examples=25)
@given(weights, st.integers(1, 9))
def test_no_rank_has_more_than_the_mean_and_one_part(parts, count):
    loads = [sum(max(1, parts[part]) for part in shared_out(parts, r, count)) for r in range(count)]
    whole = [max(1, each) for each in parts]
    assert max(loads) <= sum(whole) / count + max(whole, default=0)


def test_parts_of_unknown_weight_are_shared_evenly():
    assert [len(shared_out([0] * 12, rank, 5)) for rank in range(5)] == [3, 3, 2, 2, 2]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    pytest.importorskip("mpi4py")
    return write_sources(tmp_path_factory.mktemp("raw"), 4)


@pytest.fixture(scope="module")
def expected(sources, tmp_path_factory):
    """The files of the store that one worker makes."""
    store = tmp_path_factory.mktemp("expected") / "events.zarr"
    ended = stage(store, *sources, *SMALL, "--workers", 1)
    assert ended.returncode == 0, ended.stderr
    return files_of(store)


@pytest.mark.mpi
@pytest.mark.parametrize(
    "how",
    [("--ranks", 1), ("--ranks", 2), ("--ranks", 3), ("--workers", 2)],
    ids=lambda how: f"{how[0][2:]}-{how[1]}",
)
def test_any_number_of_ranks_or_workers_gives_the_same_bytes(tmp_path, sources, expected, how):
    store = tmp_path / "events.zarr"
    ended = stage(store, *sources, *SMALL, *how)
    assert ended.returncode == 0, ended.stderr
    assert files_of(store) == expected
    assert "events.zarr: needs about" in ended.stderr


@pytest.mark.mpi
def test_ranks_are_ranks_of_one_job(tmp_path, sources):
    code = "from mpi4py import MPI; w = MPI.COMM_WORLD; print(f'<{w.allreduce(1)}>')"
    (python, *_), mpiexec = command(tmp_path), Path(command(tmp_path)[0]).with_name("mpiexec")
    ran = subprocess.run(
        [mpiexec, "-n", "2", python, "-c", code], capture_output=True, text=True, check=True
    )
    assert ran.stdout.count("<2>") == 2


@pytest.mark.mpi
def test_a_rank_that_meets_a_bad_file_ends_the_job_with_its_message(tmp_path, sources, expected):
    raw = write_sources(tmp_path / "raw", 4)
    whole = raw[2].read_bytes()
    raw[2].write_bytes(whole[:300])
    store = tmp_path / "events.zarr"
    ended = stage(store, *raw, *SMALL, "--ranks", 2)
    assert ended.returncode == Exit.BAD_INPUT
    assert words_of(ended).count("error ") == 1
    assert words_of(ended).count(str(raw[2])) == 1
    assert "Traceback" not in ended.stderr
    assert not (store / "manifest.json").exists()
    raw[2].write_bytes(whole)
    again = stage(store, *raw, *SMALL, "--ranks", 3)
    assert again.returncode == 0, again.stderr
    found = files_of(store)
    differing = {name for name in expected if found.pop(name) != expected[name]}
    assert found == {}
    assert differing <= {"manifest.json", "bins.json"}  # which name the paths of the sources


def ranks_of(store: Path) -> list[int]:
    """Return the processes that are ranks of the job that stages into `store`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if (
            "--mpi" in words
            and "mpiexec" not in words[0]
            and str(store.with_suffix(".staging")) in words
        ):
            found.append(int(path.parent.name))
    return sorted(found)


@pytest.mark.mpi
def test_a_killed_rank_ends_the_job_and_the_next_one_finishes(tmp_path, sources, expected):
    store = tmp_path / "events.zarr"
    words = (*sources, *SMALL, "--ranks", 2)
    with subprocess.Popen(command(store, *words), stderr=subprocess.PIPE, text=True) as job:
        while not list(store.glob("train/*")):
            assert job.poll() is None, job.stderr.read()
            time.sleep(0.02)
        os.kill(ranks_of(store)[-1], signal.SIGKILL)
        _, told = job.communicate(timeout=60)
    assert job.returncode == Exit.FAILED
    assert "its MPI job" in told
    assert not (store / "manifest.json").exists()
    deadline = time.monotonic() + 10
    while ranks_of(store):
        assert time.monotonic() < deadline, "a rank outlived its job"
        time.sleep(0.05)
    again = stage(store, *words)
    assert again.returncode == 0, again.stderr
    assert files_of(store) == expected


DIES = """
from pipeline.data.ranks import run_ranks
def part(number):
    if number == 1:
        raise ArithmeticError("nobody foresaw this")
    return 0
raise SystemExit(run_ranks([2, 1], begin=lambda: 0, part=part, finish=lambda: 0))
"""


@pytest.mark.mpi
def test_an_error_that_nobody_foresaw_ends_every_rank(tmp_path):
    pytest.importorskip("mpi4py")
    python = command(tmp_path)[0]
    mpiexec = [Path(python).with_name("mpiexec"), "-n", "2"]
    ran = subprocess.run(
        [*mpiexec, python, "-c", DIES], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode != 0
    assert ran.stderr.count("ArithmeticError: nobody foresaw this") == 1


def test_ranks_that_do_not_see_each_other_are_told_how_to(monkeypatch, capsys):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert not ranks.sees_all(1)
    assert "Try srun --mpi=pmi2 (MPICH) or --mpi=pmix (Open MPI)" in capsys.readouterr().err
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert not ranks.sees_all(1)
    assert capsys.readouterr().err == ""
    assert ranks.sees_all(2)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert ranks.sees_all(1)
