"""Staging by MPI ranks on two nodes of a real Slurm, as `srun --mpi` starts them."""

from pathlib import Path

import pytest
from staged_alone import SMALL, command, ended, files_of, stage, write_sources

from pipeline.outcome import Exit

pytestmark = [pytest.mark.slurm, pytest.mark.mpi, pytest.mark.usefixtures("slurm")]
ALLOCATE = ("salloc", "--quiet", "-A", "m4722", "-C", "gpu", "-N", "2", "-t", "5")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    pytest.importorskip("mpi4py")
    return write_sources(tmp_path_factory.mktemp("raw"), 4)


def test_two_ranks_under_srun_stage_what_one_worker_does(
    tmp_path: Path, sources: list[Path]
) -> None:
    alone = stage(tmp_path / "alone.zarr", *sources, *SMALL, "--workers", 1)
    assert alone.returncode == 0, alone.stderr
    ranks = ended([*ALLOCATE, *command(tmp_path / "ranks.zarr", *sources, *SMALL, "--ranks", 2)])
    assert ranks.returncode == 0, ranks.stderr
    assert files_of(tmp_path / "ranks.zarr") == files_of(tmp_path / "alone.zarr")


def test_an_mpi_that_slurm_does_not_know_is_told_once_and_stages_nothing(
    tmp_path: Path, sources: list[Path]
) -> None:
    store = tmp_path / "ranks.zarr"
    words = [*ALLOCATE, *command(store, *sources, *SMALL, "--ranks", 2)]
    told = ended(words, SLURM_MPI_TYPE="none")
    assert told.returncode == Exit.USAGE
    assert told.stderr.count("srun started 2 processes, but each finds itself alone") == 1
    assert not store.exists()
