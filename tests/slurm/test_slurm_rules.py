"""The test bed refuses what the sites forbid, and our declarations of it say the same."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.job import Job
from pipeline.run import Run
from pipeline.scheduler import NotNowError, connect, render
from pipeline.site import load_site

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm")]

GPU = ("-A", "m4722", "-C", "gpu", "-q", "regular")
BINS = ("-A", "nph000", "-p", "bins", "-C", "nvme")


def submitted(*options: str) -> subprocess.CompletedProcess[str]:
    """Ask Slurm whether it would take a job with these options."""
    command = ["sbatch", "--test-only", *options, "--wrap=true"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "options", [GPU, BINS, ("-A", "m4722", "-C", "cpu"), (*BINS, "-N2", "-t6")]
)
def test_what_a_site_allows_is_taken(options: tuple[str, ...]) -> None:
    options = options if "-t6" in options else (*options, "-t2")
    told = submitted(*options)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-C", "gpu"), "no account given: use -A <project>"),
        (("-A", "m4722"), "no constraint given: use -C gpu"),
        (("-A", "stranger", "-C", "gpu"), "Invalid account"),
        (("-A", "m4722", "-C", "gpu", "-q", "fast"), "Invalid qos"),
        (("-A", "m4722", "-C", "gpu&hbm90g"), "Invalid feature"),
        ((*GPU, "-N6"), "Node count specification invalid"),
        ((*BINS, "-t3"), "walltime over the bin: 1 node(s) get 2 minutes"),
        ((*BINS, "-N2", "-t7"), "walltime over the bin: 2 node(s) get 6 minutes"),
        (("-A", "nph000", "-p", "batch", "-C", "nvme", "-t121"), "1 node(s) get 120 minutes"),
        (("-A", "m4722", "-C", "gpu", "-q", "debug", "-t31"), "QOSMaxWallDurationPerJobLimit"),
        (
            ("-A", "m4722", "-C", "gpu", "-q", "debug", "-t9", "-d", "singleton"),
            "production work and job chaining are prohibited in debug",
        ),
    ],
)
def test_what_a_site_forbids_is_refused_in_its_words(options: tuple[str, ...], words: str) -> None:
    told = submitted(*options)
    assert told.returncode != 0
    assert words in told.stderr


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_declared_bins_are_those_that_are_enforced(nodes: int) -> None:
    minutes = load_site("testbed-frontier").max_minutes(nodes, "")
    assert submitted(*BINS, f"-N{nodes}", f"-t{minutes}").returncode == 0
    assert submitted(*BINS, f"-N{nodes}", f"-t{minutes + 1}").returncode != 0


@pytest.fixture
def held() -> Iterator[list[str]]:
    """Jobs that wait for ever; cancelled in the end."""
    ids: list[str] = []
    yield ids
    subprocess.run(["scancel", *ids], check=True)


def test_the_declared_cap_is_enforced_and_a_full_queue_is_waited_for(
    held: list[str], tmp_path: Path
) -> None:
    site = load_site("testbed-frontier")
    hold = ["sbatch", "--parsable", "--hold", *BINS, "-t1", "--wrap=true"]
    for _ in range(site.submitted_jobs):  # those that are there are cancelled, whatever happens
        told = subprocess.run(hold, capture_output=True, text=True, check=True)
        held += [told.stdout.strip()]
    job = Job(
        key=f"one-too-many-{held[0]}",
        folder=tmp_path,
        command=("true",),
        node="gcd",
        nodes=1,
        processes_per_node=1,
        walltime_minutes=1,
        account="nph000",
    )
    with pytest.raises(NotNowError, match="QOSMaxSubmitJobPerUserLimit"):
        connect(site, Run(tmp_path, "x")).submit(job, render(job, site))
