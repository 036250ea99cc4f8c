"""A job's command inside an image: what is mounted, what is told, whose programs run."""

import sys
from pathlib import Path

import pytest

from pipeline.catalog import DeclarationError
from pipeline.job import Job
from pipeline.scheduler.container import contained
from pipeline.site import load_site


def job(**changes: object) -> Job:
    asked: dict[str, object] = {
        "key": "m0.1",
        "folder": Path("/scratch/runs/quickstart/pretrain/m0/logs"),
        "command": (sys.executable, "-m", "pipeline.training.programs.pretrain", "/scratch/x"),
        "node": "gpu",
        "nodes": 1,
        "processes_per_node": 4,
        "walltime_minutes": 10,
        "image": "cosmotron:cuda",
        "code": "/scratch/runs/quickstart/code/0123",
    }
    return Job.model_validate(asked | changes)


def test_without_an_image_the_command_is_as_it_was() -> None:
    bare = job(image="")
    assert contained(bare, load_site("perlmutter"), []) == bare.command


def test_podman_is_told_what_to_mount_and_to_pass_on() -> None:
    words = contained(job(), load_site("perlmutter"), ["NCCL_NET", "COSMOTRON_LINK"])
    assert words[:5] == ("podman-hpc", "run", "--rm", "--gpu", "--nccl")
    image = words.index("cosmotron:cuda")
    options = words[:image]
    assert "--userns=keep-id" in options  # else the run folder is another user's inside
    assert "--volume=/scratch/runs/quickstart:/scratch/runs/quickstart" in options
    for name in (
        "RANK",
        "MASTER_ADDR",
        "PYTHONPATH",
        "COSMOTRON_ENDS",
        "NCCL_NET",
        "COSMOTRON_LINK",
    ):
        assert f"--env={name}" in options
    assert words[image + 1 :] == (
        "python",
        "-m",
        "pipeline.training.programs.pretrain",
        "/scratch/x",
    )


def test_apptainer_passes_the_environment_on_by_itself() -> None:
    words = contained(job(node="gcd", image="/x/y.sif"), load_site("frontier"), ["NCCL_NET"])
    assert words[:3] == ("apptainer", "exec", "--rocm")
    assert not any(word.startswith("--env") for word in words)
    assert words[words.index("/x/y.sif") + 1] == "python"


def test_the_programs_of_our_environment_are_the_image_s_there() -> None:
    pool = str(Path(sys.prefix) / "bin" / "process_worker_pool.py")
    pilot = job(
        command=(pool, "--debug"), pilot=True, folder=Path("/scratch/runs/quickstart/parsl")
    )
    words = contained(pilot, load_site("perlmutter"), [])
    assert words[words.index("cosmotron:cuda") + 1 :] == ("process_worker_pool.py", "--debug")
    assert "--volume=/scratch/runs/quickstart:/scratch/runs/quickstart" in words


def test_a_site_without_a_recipe_says_so() -> None:
    with pytest.raises(DeclarationError, match="Slurm test bed declares no way to run the image"):
        contained(job(), load_site("testbed"), [])
