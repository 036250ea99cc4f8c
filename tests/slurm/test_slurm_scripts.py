"""The scripts that `plan --scripts` writes for the real machines are such as Slurm takes."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm")]

SHELLCHECK = Path(sys.executable).with_name("shellcheck")


@pytest.mark.parametrize(
    ("site", "project"), [("perlmutter", "m4722"), ("frontier", "nph000"), ("testbed", "m4722")]
)
def test_slurm_and_shellcheck_find_nothing_wrong(site: str, project: str, tmp_path: Path) -> None:
    folder = tmp_path / "scripts"
    words = ["plan", "quickstart", "--site", site, "--project", project, "--scripts", str(folder)]
    command = [sys.executable, "-m", "pipeline", *words, "--root", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    scripts = sorted(folder.glob("*.sbatch"))
    assert len(scripts) >= 5
    for script in scripts:
        asked = ["sbatch", "--test-only", str(script)]
        told = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert told.returncode == 0, f"{script.name}: {told.stderr}"
    # SC2016: `bash -c` in single quotes is meant to be expanded on the compute node.
    lint = [SHELLCHECK, "--exclude=SC2016", *scripts]
    found = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
