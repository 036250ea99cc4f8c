"""Files that a real Slurm's pilots predict: the bytes of one process, charged as sacct says."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from staged_alone import ended

pytest.importorskip("parsl")

from pipeline.budget.ledger import Ledger
from pipeline.run import Run

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.usefixtures("slurm")]
TUNED = "tracking-m-d24-s1-full-l8-s1"


def test_pilots_predict_the_bytes_of_one_process(uninterrupted: Path, tmp_path: Path) -> None:
    run = Run(tmp_path, "tiny")
    shutil.copytree(uninterrupted / "tiny", run.path)
    files = sorted(run.path.glob("simulate/tracks/files/*/*.root"))
    before = Ledger(run.ledger).accounts()
    words = [sys.executable, "-m", "pipeline", "predict", run.path, TUNED, *files]
    here = ended([*words, "--to", tmp_path / "here.parquet"])
    assert here.returncode == 0, here.stderr
    options = ("--pilots", "--site", "testbed", "--project", "m4722", "--yes")
    told = ended([*words, "--to", tmp_path / "pilots.parquet", *options], seconds=600)
    assert told.returncode == 0, told.stderr
    assert (tmp_path / "pilots.parquet").read_bytes() == (tmp_path / "here.parquet").read_bytes()
    accounts = Ledger(run.ledger).accounts()
    pilots = [
        each
        for key, each in accounts.items()
        if key not in before and each.site == "testbed" and each.stage == "pilot"
    ]
    assert pilots
    for each in pilots:
        asked = ["sacct", "-X", "-n", "-P", "-j", each.job_id, "-o", "ElapsedRaw,NNodes"]
        found = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        seconds, nodes = map(int, found.split("|"))
        assert each.charged_node_hours == pytest.approx(seconds * nodes / 3600)
