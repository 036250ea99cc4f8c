"""Trainings that share a node of a real Slurm with a fake GRES, each on its own devices."""

import subprocess
import time
from pathlib import Path

import pytest

from pipeline.job import Job
from pipeline.scheduler import render
from pipeline.site import Site, load_site

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm")]

# Each rank notes what it was given, waits for the ranks of both trainings, and for a signal.
RANK = """
mkdir -p {folder}
name={folder}/$COSMOTRON_LINK.$RANK
echo "$(hostname) $RANK $WORLD_SIZE $LOCAL_RANK $MASTER_PORT {visible}" >"$name.part"
mv "$name.part" "$name"
until [ "$(ls {folder} | grep -vc part)" = {ranks} ]; do sleep 0.1; done
exit {code}
"""


def bare(name: str) -> Site:
    """A site without its modules and internal names, which the test bed lacks."""
    site = load_site(name)
    return site.model_copy(update={"modules": (), "network_plugin": ""})


def shared(site: Site, sizes: tuple[int, ...], folder: Path, account: str) -> Job:
    """A job of one node, which trainings of these devices share; the last ends with 85."""
    parts, begin = [], 0
    seen = "${ROCR_VISIBLE_DEVICES:-$CUDA_VISIBLE_DEVICES}"
    common = {"node": site.training.node, "nodes": 1, "walltime_minutes": 5}
    for number, size in enumerate(sizes, 1):
        text = RANK.format(
            folder=folder / "ranks",
            visible=seen,
            ranks=sum(sizes),
            code=85 if number == len(sizes) else 0,
        )
        part = Job(
            key=f"shared.t{number}.1",
            folder=folder,
            command=("bash", "-c", text),
            processes_per_node=size,
            positions=tuple(range(begin, begin + size)),
            afterwards=("echo", "ended with"),
            **common,
        )
        parts.append(part)
        begin += size
    return Job(
        key="shared.bundle.1",
        folder=folder,
        processes_per_node=site.nodes[site.training.node].devices,
        account=account,
        qos=site.training.qos,
        parts=tuple(parts),
        before=("echo", *(str(number) for number in range(1, len(sizes) + 1))),
        afterwards=("true",),
        **common,
    )


@pytest.mark.parametrize(
    ("name", "account", "sizes", "devices"),
    [
        ("frontier", "nph000", (4, 2, 1), (["4", "5", "2", "3"], ["6", "7"], ["0"])),
        ("perlmutter", "m4722_g", (2, 2), (["3,2", "3,2"], ["1,0", "1,0"])),
    ],
)
def test_each_has_its_devices_while_the_others_run(
    name: str,
    account: str,
    sizes: tuple[int, ...],
    devices: tuple[list[str], ...],
    tmp_path: Path,
) -> None:
    site = bare(name)
    job = shared(site, sizes, tmp_path, account)
    job.script.write_text(render(job, site))
    submitted = subprocess.run(
        ["sbatch", "--parsable", str(job.script)], capture_output=True, text=True, check=True
    )
    ended = wait(submitted.stdout.strip())
    logs = {path.name: path.read_text() for path in tmp_path.glob("*.log")}
    assert ended == "COMPLETED", logs
    ports = set()
    for part, wanted in zip(job.parts, devices, strict=True):
        ranks = [read(tmp_path, part, rank) for rank in range(part.processes_per_node)]
        assert [each[5] for each in ranks] == wanted
        assert {each[2] for each in ranks} == {str(part.processes_per_node)}
        local = ["0"] * len(ranks) if name == "frontier" else [each[1] for each in ranks]
        assert [each[3] for each in ranks] == local
        assert len({each[0] for each in ranks}) == 1, "on one node"
        ports |= {each[4] for each in ranks}
        code = 85 if part is job.parts[-1] else 0
        assert f"ended with {code}" in part.log.read_text()
    assert len(ports) == len(job.parts), "each training has a port of its own"


def read(folder: Path, part: Job, rank: int) -> list[str]:
    return (folder / "ranks" / f"{part.key}.{rank}").read_text().split()


def wait(job_id: str) -> str:
    """Return how a job ended."""
    asked = ["sacct", "-X", "-n", "-P", "-o", "State", "-j", job_id]
    deadline = time.monotonic() + 60
    state = ""
    while time.monotonic() < deadline:
        state = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        if state not in ("", "PENDING", "RUNNING"):
            return state
        time.sleep(0.3)
    subprocess.run(["scancel", job_id], check=False)
    return f"{state} for a minute"
