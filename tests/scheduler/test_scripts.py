"""Whatever `plan --scripts` writes is a shell script without faults, and for PBS one it takes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import fake_pbs
import pytest

from pipeline import catalog

SHELLCHECK = Path(sys.executable).with_name("shellcheck")


@pytest.mark.parametrize("site", catalog.names("sites"))
def test_the_scripts_of_a_plan_have_no_faults(site: str, tmp_path: Path) -> None:
    scripts = planned(site, tmp_path)
    # SC2016: `bash -c` in single quotes is meant to be expanded on the compute node.
    lint = [SHELLCHECK, "--exclude=SC2016", *scripts]
    found = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_pbs_would_take_each_script(tmp_path: Path) -> None:
    scripts = planned("polaris", tmp_path)
    commands = tmp_path / "bin"
    commands.mkdir()
    fake_pbs.install(commands)
    environment = os.environ | {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}
    for script in scripts:
        asked = ["qsub", str(script)]
        told = subprocess.run(asked, capture_output=True, text=True, check=False, env=environment)
        assert re.fullmatch(r"\d+\.polaris-pbs-01\n", told.stdout), f"{script.name}: {told.stderr}"


def planned(site: str, folder: Path) -> list[Path]:
    """Return the scripts of quickstart on `site`."""
    words = ["plan", "quickstart", "--site", site, "--project", "m4722", "--root", str(folder)]
    command = [sys.executable, "-m", "pipeline", *words, "--scripts", str(folder / "scripts")]
    subprocess.run(command, check=True, capture_output=True)
    scripts = sorted((folder / "scripts").iterdir())
    assert len(scripts) >= 3
    return scripts
