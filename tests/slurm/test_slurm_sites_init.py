"""`sites init` on a real Slurm, with each of its partitions; `sites check` tries what it wrote."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.site import load_site

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm")]


def cosmotron(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("partition", "project", "devices", "minutes"),
    [
        ("gpu", "m4722", 4, 2880),
        ("batch", "nph000", 8, 720),
        ("extended", "nph000", 8, 1440),
        ("bins", "nph000", 8, 720),
    ],
)
def test_the_file_of_each_partition_passes_the_check(
    partition: str, project: str, devices: int, minutes: int, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    told = cosmotron("sites", "init", str(file), "--partition", partition)
    assert told.returncode == 0, told.stderr
    site = load_site(str(file))
    assert site.nodes[site.training.node].gpus == devices
    assert site.qos[site.training.qos].max_minutes == minutes
    assert "m4722, m4722_g, nph000" in file.read_text()
    words = ("--project", project, "--root", str(tmp_path / "runs"), "--json")
    checked = cosmotron("sites", "check", str(file), *words)
    rows = {row["name"]: row for row in json.loads(checked.stdout)}
    assert checked.returncode == 0, rows
    assert rows["queue"]["found"] == partition
    assert rows["account"]["found"] == project
    if partition == "gpu":  # the others' bins are a plug-in's, which nobody can see
        scripts = tmp_path / "scripts"
        words = ("--site", str(file), "--project", project, "--scripts", str(scripts))
        planned = cosmotron("plan", "quickstart", *words, "--root", str(tmp_path / "runs"))
        assert planned.returncode == 0, planned.stderr
        for script in scripts.glob("*.sbatch"):
            asked = ["sbatch", "--test-only", str(script)]
            answer = subprocess.run(asked, capture_output=True, text=True, check=False)
            assert answer.returncode == 0, f"{script.name}: {answer.stderr}"


def test_a_node_without_tools_is_said_to_have_none(tmp_path: Path) -> None:
    words = ("--partition", "batch", "--ask-node", "--project", "nph000")
    told = cosmotron("sites", "init", str(tmp_path / "mine.toml"), *words)
    assert told.returncode == 0, told.stderr
    assert "A node of batch has neither nvidia-smi nor rocm-smi." in told.stderr
