"""What would be submitted, word by word.

After a wanted change, write the files anew and read the difference:
    COSMOTRON_WRITE_GOLDEN=1 pytest tests/scheduler/test_golden.py; git diff tests/golden
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.job import Job
from pipeline.scheduler import render
from pipeline.site import Role, Site, load_site

SHELLCHECK = Path(sys.executable).with_name("shellcheck")
GOLDEN = Path(__file__).parent.parent / "golden"
SITES = ("local", "testbed", "perlmutter", "frontier", "polaris")
KINDS = ("one-node", "two-nodes", "pilot")
IMAGES = {"perlmutter": "cosmotron:cuda", "frontier": "/scratch/cosmotron.sif"}
CASES = [
    *((site, kind) for site in SITES for kind in KINDS if (site, kind) != ("local", "two-nodes")),
    *((site, "image") for site in IMAGES),
    ("perlmutter", "gpu80"),
    ("perlmutter", "overrun"),
    ("frontier", "extended"),
    ("perlmutter", "bundle"),
    ("frontier", "bundle"),
    ("perlmutter", "shared-node"),
    ("frontier", "shared-node"),
]
SUCCESSION = ("python", "-m", "pipeline.chains.continuation")
QUEUES = ("overrun", "extended")


def job(site: Site, kind: str) -> Job:
    if kind == "bundle":
        return bundle(site)
    if kind == "shared-node":
        return shared_node(site)
    pilot = kind == "pilot"
    role: Role = site.pilot.role if pilot else site.training
    role = Role(
        node=kind if kind in site.nodes else role.node, qos=kind if kind in QUEUES else role.qos
    )
    command = (
        ("process_worker_pool.py",)
        if pilot
        else ("python", "-m", "pipeline.training.programs.pretrain")
    )
    return Job(
        key=f"quickstart-{kind}.1",
        folder=Path("/scratch/my runs/quickstart/pretrain/m0/logs"),
        command=(*command, "/scratch/my runs/quickstart/task.toml"),
        node=role.node,
        nodes=2 if kind == "two-nodes" else 1,
        processes_per_node=1 if pilot else site.nodes[role.node].devices,
        walltime_minutes=site.pilot.walltime_minutes if pilot else 120,
        account="" if site.scheduler == "local" else site.account("m4722", role.node),
        qos=role.qos,
        pilot=pilot,
        image=IMAGES[site.name] if kind == "image" else "",
        code="/scratch/my runs/quickstart/code/0123456789ab",
        **({} if pilot or site.scheduler == "local" else link_of_a_chain(kind)),
    )


def bundle(site: Site) -> Job:
    """Two links of two trainings, of one node and of two, in one job."""
    parts = []
    for first_node, (name, kind) in enumerate((("m0", "one-node"), ("m1", "two-nodes"))):
        told = (f"/scratch/my runs/quickstart/pretrain/{name}", "1")
        link = job(site, kind)
        changes = {
            "key": f"quickstart.pretrain.{name}.1",
            "folder": Path(told[0]) / "logs",
            "before": (),
            "after": "",
            "exclude": (),
            "afterwards": (*SUCCESSION, "judge", *told),
            "first_node": first_node,
        }
        parts.append(link.model_copy(update=changes))
    return together(parts, nodes=3)


def shared_node(site: Site) -> Job:
    """Two links of a whole node and of half of one, and one that has a quarter of the same node."""
    parts = list(bundle(site).parts)
    devices = parts[0].processes_per_node
    half, quarter = devices // 2, devices // 4
    positions = (range(half), range(half, half + quarter))
    shares = [
        parts[0].model_copy(
            update={
                "key": f"quickstart.pretrain.{name}.1",
                "folder": Path(f"/scratch/my runs/quickstart/pretrain/{name}/logs"),
                "first_node": 1,
                "positions": tuple(mine),
                "processes_per_node": len(mine),
                "afterwards": (
                    *SUCCESSION,
                    "judge",
                    f"/scratch/my runs/quickstart/pretrain/{name}",
                    "1",
                ),
            }
        )
        for name, mine in zip(("m1", "m2"), positions, strict=True)
    ]
    return together([parts[0], *shares], nodes=2)


def together(parts: list[Job], nodes: int) -> Job:
    """The job of these links."""
    told = [word for each in parts for word in each.afterwards[-2:]]
    changes = {
        "key": "quickstart.bundle.1-0123abcd",
        "folder": Path("/scratch/my runs/quickstart/bundles"),
        "command": (),
        "nodes": nodes,
        "before": (*SUCCESSION, "begin", *told),
        "afterwards": (*SUCCESSION, "onward", *told),
        "parts": tuple(parts),
    }
    return parts[0].model_copy(update=changes)


def link_of_a_chain(kind: str) -> dict[str, Any]:
    """What a link has that needs no controller; the second one waits, and avoids a node."""
    told = ("/scratch/my runs/quickstart/pretrain/m0", "2" if kind == "two-nodes" else "1")
    second = {"after": "4242", "exclude": ("nid000007",)} if kind == "two-nodes" else {}
    both = {"before": (*SUCCESSION, "begin", *told), "afterwards": (*SUCCESSION, "end", *told)}
    return both | second


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_script_is_the_one_that_was_reviewed(name: str, kind: str) -> None:
    site = load_site(name)
    path = GOLDEN / f"{name}-{kind}.sbatch"
    text = render(job(site, kind), site)
    if os.environ.get("COSMOTRON_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.sbatch")), ids=lambda path: path.stem)
def test_shellcheck_finds_nothing(path: Path) -> None:
    # SC2016: `bash -c` in single quotes is meant to be expanded on the compute node.
    command = [SHELLCHECK, "--exclude=SC2016", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.sbatch")), ids=lambda path: path.stem)
def test_every_directive_is_explained(path: Path) -> None:
    explained = (GOLDEN.parent.parent / "docs" / "sites.md").read_text()
    for line in path.read_text().splitlines():
        if line.startswith("#SBATCH "):
            name = line.removeprefix("#SBATCH ").split("=")[0]
            assert f"`{name}`" in explained, name
        elif line.startswith("#PBS "):
            option, value = line.removeprefix("#PBS ").split(" ", 1)
            name = f"{option} {value.split('=')[0]}" if option in ("-l", "-W") else option
            assert f"`{name}`" in explained, name
