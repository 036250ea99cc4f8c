"""A run folder of each format, as the version of then left it, is read, continued and reported."""

import json
import tarfile
from pathlib import Path

import pytest
from whole_campaign import fingerprint

from months.bed import Bed
from months.check import TO_DO
from pipeline.campaign import stored

pytest.importorskip("deepspeed")

FOLDERS = Path(__file__).parent / "folders"
ARCHIVES = sorted(FOLDERS.glob("format-*.tar.gz"))
HELD = b"@ROOT@"


def test_there_is_one_of_each_format():
    numbers = {int(path.name.removeprefix("format-").partition(".")[0]) for path in ARCHIVES}
    assert numbers == set(range(1, stored.FORMAT + 1))


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.partition(".")[0])
def bed(request, tmp_path):
    bed = Bed(tmp_path, "local")
    with tarfile.open(request.param) as archive:
        archive.extractall(bed.root, filter="data")
    for path in bed.run.rglob("*"):
        if path.is_file() and HELD in (content := path.read_bytes()):
            path.write_bytes(content.replace(HELD, str(bed.root).encode()))
    return bed


@pytest.mark.slow
def test_it_is_read_continued_and_reported(bed):
    assert bed.type("status").code == 0
    before = fingerprint(bed.root, "months")
    planned = bed.type("plan", "--json")
    assert planned.code == 0, planned.err
    to_do = {key for key, step in planned.steps.items() if step["meaning"] in TO_DO}
    assert {key.partition("/")[0] for key in to_do} == {"finetune", "evaluate"}
    charged = bed.type("budget", "--json").charged
    ran = bed.type("run", "--yes")
    assert ran.code == 0, ran.err
    after = fingerprint(bed.root, "months")
    assert {key: after[key] for key in before} == before, "nothing was made again"
    assert bed.type("budget", "--json").charged > charged, "and the ledger goes on"
    reported = bed.type("report", "--format", "json")
    assert reported.code == 0, reported.err
    assert json.loads(reported.out)
