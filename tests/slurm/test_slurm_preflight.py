"""`sites check` on a real Slurm: a job on two nodes, and what is wrong told in red."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm")]


def check(*words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code, and the rows by their names."""
    command = [sys.executable, "-m", "pipeline", "sites", "check", "testbed", "--json", *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.returncode, {row["name"]: row for row in json.loads(ended.stdout)}


@pytest.mark.slow
def test_a_job_on_two_nodes_sees_what_the_site_says(tmp_path: Path) -> None:
    code, rows = check("--project", "m4722", "--root", str(tmp_path), "--job")
    assert code == 0
    assert {row["state"] for row in rows.values()} <= {"ok", "skipped"}
    assert rows["queue"]["found"] == "regular"
    assert rows["processes"]["found"].count("1 on nid") == 2
    assert rows["DeepSpeed"]["state"] == rows["all-reduce"]["state"] == "ok"


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    code, rows = check("--project", "stranger", "--qos", "fast", "--root", str(tmp_path), "--job")
    assert code == 1
    assert rows["account"]["found"] == "'stranger' is none of yours"
    assert rows["queue"]["found"] == "testbed declares no QOS 'fast'"
    assert "job" not in rows, "what is red is mended first"
