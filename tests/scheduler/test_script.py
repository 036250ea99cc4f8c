import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.catalog import DeclarationError
from pipeline.job import Job
from pipeline.scheduler import render
from pipeline.scheduler.script import exports
from pipeline.site import load_site

MakeJob = Callable[..., Job]


def test_every_argument_survives_the_shell(make_job: MakeJob) -> None:
    arguments = ("my program", "a b", "it's", "$HOME", "`date`", "*", "")
    text = render(make_job(*arguments), load_site("local"))
    line = next(line for line in text.splitlines() if "my program" in line)
    assert shlex.split(line.strip().removesuffix("&")) == list(arguments)


def test_a_frontier_rank_sees_one_die_with_the_index_0(make_job: MakeJob) -> None:
    assert "export LOCAL_RANK=0\n" in render(make_job(node="gcd"), load_site("frontier"))
    perlmutter = render(make_job(node="gpu"), load_site("perlmutter"))
    assert "export LOCAL_RANK=$SLURM_LOCALID\n" in perlmutter


def test_nccl_s_plug_in_is_named_for_several_nodes_only(make_job: MakeJob) -> None:
    site = load_site("perlmutter")
    assert ("NCCL_NET", "AWS Libfabric") in exports(make_job(node="gpu", nodes=2), site)
    assert "NCCL_NET" not in dict(exports(make_job(node="gpu"), site))
    assert dict(exports(make_job(node="gcd"), load_site("frontier")))["NCCL_NET"] == "Socket"


def test_cpu_nodes_of_perlmutter_are_charged_to_the_plain_account() -> None:
    site = load_site("perlmutter")
    assert site.account("m4722", "gpu") == "m4722_g"
    assert site.account("m4722_g", "gpu80") == "m4722_g"
    assert site.account("m4722", "cpu") == "m4722"
    assert site.account("", "gpu") == ""


def test_a_short_job_is_told_to_save_half_way(make_job: MakeJob) -> None:
    text = render(make_job(node="gpu", walltime_minutes=2), load_site("perlmutter"))
    assert "--signal=B:USR1@60\n" in text


@pytest.mark.parametrize(("first", "second", "expected"), [(89, 137, 137), (137, 89, 137)])
def test_the_cause_is_the_job_s_end_and_not_its_echo(
    make_job: MakeJob, first: int, second: int, expected: int
) -> None:
    ends = f"if [ $RANK = 0 ]; then exit {first}; fi; sleep 0.5; exit {second}"
    text = render(make_job("bash", "-c", ends, processes_per_node=2), load_site("local"))
    ended = subprocess.run(["bash", "-c", text], timeout=20, check=False)
    assert ended.returncode == expected


def test_a_signal_does_not_kill_a_program_that_does_not_listen_yet(
    make_job: MakeJob, tmp_path: Path
) -> None:
    """Python needs seconds until its handlers are set; a signal in these seconds cost a link."""
    begun = tmp_path / "begun"
    slow = f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(1); exit(85)"
    text = render(make_job(sys.executable, "-c", slow), load_site("local"))
    with subprocess.Popen(["bash", "-c", text], start_new_session=True) as script:
        while not begun.exists():
            time.sleep(0.05)
        script.send_signal(signal.SIGUSR1)
        assert script.wait(timeout=20) == 85


def test_a_pilot_has_its_nodes_whole_and_no_ranks(make_job: MakeJob) -> None:
    text = render(make_job(node="cpu", pilot=True), load_site("perlmutter"))
    assert "--cpus-per-task=256" in text
    assert "RANK" not in text
    assert "--signal" not in text


def test_a_percent_sign_in_a_path_is_no_pattern_of_slurm(make_job: MakeJob) -> None:
    job = make_job(node="gpu", folder="/scratch/100%j")
    assert "--output=/scratch/100%%j/pretrain-m0.1.log\n" in render(job, load_site("testbed"))


def test_an_unknown_node_class_is_named(make_job: MakeJob) -> None:
    with pytest.raises(DeclarationError, match=r"pretrain-m0.1: perlmutter has no nodes 'laptop'"):
        render(make_job(), load_site("perlmutter"))


def test_an_unknown_template_is_named_with_the_known_ones(make_job: MakeJob) -> None:
    site = load_site("local").model_copy(update={"template": "polaris"})
    with pytest.raises(
        DeclarationError, match=r"no template 'polaris' in .*: frontier, local, slurm"
    ):
        render(make_job(), site)


def test_options_of_srun_reach_the_step(make_job: MakeJob) -> None:
    site = load_site("testbed").model_copy(
        update={"mpi": "pmi2", "modules": ("a/1", "b"), "prologue": ("source venv/bin/activate",)}
    )
    text = render(make_job(node="gpu"), site)
    assert "    --mpi=pmi2 \\\n" in text
    assert "module load a/1 b\nsource venv/bin/activate\n" in text


@pytest.fixture
def shared_node(make_job: MakeJob) -> Callable[..., str]:
    """The script of two trainings that share a node of a site, with changes to its nodes."""

    def make(name: str, **changes: Any) -> str:
        site = load_site(name)
        node = site.training.node
        changed = site.nodes[node].model_copy(update=changes)
        site = site.model_copy(update={"nodes": {**site.nodes, node: changed}})
        parts = [
            make_job(
                key=key, node=node, processes_per_node=2, positions=positions, afterwards=("true",)
            )
            for key, positions in (("a.1", (0, 1)), ("b.1", (2, 3)))
        ]
        job = make_job(node=node, processes_per_node=4, parts=tuple(parts), before=("true",))
        return render(job.model_copy(update={"afterwards": ("true",)}), site)

    return make


def test_trainings_that_share_a_node_have_their_devices_in_the_order_of_the_cpus(
    shared_node: Callable[..., str],
) -> None:
    text = shared_node("perlmutter")
    assert re.findall(r"CUDA_VISIBLE_DEVICES=(\S+)", text) == ["3,2", "1,0"]
    masks = re.findall(r"--cpu-bind=(\S+)", text)
    assert masks == [
        "mask_cpu:0xffff000000000000ffff,0xffff000000000000ffff0000",
        "mask_cpu:0xffff000000000000ffff00000000,0xffff000000000000ffff000000000000",
    ]
    assert text.count("--overlap --nodes=1 --ntasks=2") == 2
    assert "--cpu-bind=cores" not in text, "that would be all cores of the node"
    frontier = shared_node("frontier")
    assert re.findall(r"devices=\((.*?)\)", frontier) == ["4 5", "2 3"]
    assert "--gpus-per-task" not in frontier, "Slurm would choose the die"


def test_where_the_order_of_devices_is_not_known_they_are_counted_and_nobody_is_bound(
    shared_node: Callable[..., str],
) -> None:
    text = shared_node("perlmutter", device_order=(), device_cpus=())
    assert re.findall(r"CUDA_VISIBLE_DEVICES=(\S+)", text) == ["0,1", "2,3"]
    assert re.findall(r"--cpu-bind=(\S+)", text) == ["none", "none"], "or both had the first cores"
