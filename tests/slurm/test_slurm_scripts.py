"""The scripts that `plan --scripts` writes for the real machines are such as Slurm takes."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm")]


@pytest.mark.parametrize(
    ("site", "project", "queue"),
    [
        ("perlmutter", "m4722", "regular"),
        ("perlmutter", "m4722", "overrun"),
        ("gpu80", "m4722", "regular"),
        ("frontier", "nph000", ""),
        ("frontier", "nph000", "extended"),
        ("testbed", "m4722", "regular"),
    ],
)
def test_slurm_would_take_each_script(site: str, project: str, queue: str, tmp_path: Path) -> None:
    folder = tmp_path / "scripts"
    site = own_site(tmp_path) if site == "gpu80" else site
    words = ["plan", "quickstart", "--site", site, "--project", project, "--scripts", str(folder)]
    words += ["--qos", queue] if queue else []
    command = [sys.executable, "-m", "pipeline", *words, "--root", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    scripts = sorted(folder.glob("*.sbatch"))
    assert len(scripts) >= 3
    for script in scripts:
        asked = ["sbatch", "--test-only", str(script)]
        told = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert told.returncode == 0, f"{script.name}: {told.stderr}"


def own_site(folder: Path) -> str:
    """Return a site file of one's own: Perlmutter, with trainings on cards of 80 GB."""
    command = [sys.executable, "-m", "pipeline", "sites", "show", "perlmutter", "--toml"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    head, _, tail = text.partition('[training]\nnode = "gpu"')
    assert tail
    path = folder / "mine.toml"
    path.write_text(f'{head}[training]\nnode = "gpu80"{tail}')
    return str(path)
