"""Staging by MPI ranks on two nodes of a real Slurm, as `srun --mpi` starts them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.run import Exit

pytestmark = [pytest.mark.slurm, pytest.mark.mpi, pytest.mark.usefixtures("slurm")]
ALLOCATE = ("salloc", "--quiet", "-A", "m4722", "-C", "gpu", "-N", "2", "-t", "5")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four files of twelve events each."""
    pytest.importorskip("mpi4py")
    folder = tmp_path_factory.mktemp("raw")
    paths = [folder / f"spacepoints_{number:03d}.npz" for number in range(4)]
    rng = np.random.default_rng(1)
    for path in paths:
        points = rng.uniform(20, 50, (12 * 30, 4)).astype(np.float32)
        np.savez(path, data=points, size=np.full(12, 30))
    return paths


def stage(
    store: Path, sources: list[Path], *words: str, before: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Stage `sources` into `store` in pieces of four events."""
    command = [sys.executable, "-m", "pipeline", "stage", str(store), *map(str, sources)]
    return subprocess.run(
        [*before, *command, "--events-per-shard", "4", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


def files_of(store: Path) -> dict[str, bytes]:
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file()
    }


def test_two_ranks_under_srun_stage_what_one_worker_does(
    tmp_path: Path, sources: list[Path]
) -> None:
    alone = stage(tmp_path / "alone.zarr", sources, "--workers", "1")
    assert alone.returncode == 0, alone.stderr
    ranks = stage(tmp_path / "ranks.zarr", sources, "--ranks", "2", before=ALLOCATE)
    assert ranks.returncode == 0, ranks.stderr
    assert files_of(tmp_path / "ranks.zarr") == files_of(tmp_path / "alone.zarr")


def test_an_mpi_that_slurm_does_not_know_is_told_once_and_stages_nothing(
    tmp_path: Path, sources: list[Path]
) -> None:
    store = tmp_path / "ranks.zarr"
    ended = stage(store, sources, "--ranks", "2", before=ALLOCATE, SLURM_MPI_TYPE="none")
    assert ended.returncode == Exit.USAGE
    assert ended.stderr.count("srun started 2 processes, but each finds itself alone") == 1
    assert not store.exists()
