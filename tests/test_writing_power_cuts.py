"""What was written stays when the node loses power a moment later."""

import os
import socket
import subprocess

import pytest
from power_cut import disk

from pipeline import records
from pipeline.budget.ledger import Ledger
from pipeline.budget.record import Kind, Record
from pipeline.claims import claimed, holder
from pipeline.planning import code_copy
from pipeline.records import Trained
from pipeline.run import Run, TaskFolder
from pipeline.writing import new_folder, write_text, written


@pytest.fixture(scope="module")
def power(tmp_path_factory):
    """A disk whose power can be cut, for all tests of this file."""
    with disk(tmp_path_factory.mktemp("power")) as made:
        yield made


def contents(folder):
    """The content of each file below `folder`, by its name there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_disk_comes_back_though_another_namespace_has_it(power):
    ready = "echo there; exec sleep 60"
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", ready], stdout=subprocess.PIPE
    ) as elsewhere:
        assert elsewhere.stdout.readline() == b"there\n"
        write_text(power.folder / "before.txt", "text")
        power.cut()
        power.restart()
        write_text(power.folder / "after.txt", "text")
        elsewhere.kill()
    assert (power.folder / "before.txt").read_text() == "text"


def test_files_and_folders(power):
    write_text(power.folder / "deep" / "er" / "a.txt", "text")
    with written(power.folder / "deep" / "b.txt") as unfinished:
        unfinished.write_text("text")
    with new_folder(power.folder / "model") as folder:
        (folder / "weights").write_bytes(b"weights" * 1000)
    power.cut()
    power.restart()
    assert (power.folder / "deep" / "er" / "a.txt").read_text() == "text"
    assert (power.folder / "deep" / "b.txt").read_text() == "text"
    assert contents(power.folder / "model") == {"weights": b"weights" * 1000}


def test_every_record_of_a_ledger(power):
    ledger = Ledger(power.folder / "ledger")
    for number in range(3):
        ledger.append(
            Record(
                kind=Kind.RESERVE,
                time=float(number),
                job_key=f"job-{number}",
                task="pretrain/a",
                stage="pretrain",
                site="local",
                node_hours=1.0,
            )
        )
        power.cut()
        power.restart()
        assert len(Ledger(power.folder / "ledger").records()) == number + 1


def test_a_claim_names_its_holder(power):
    path = power.folder / "claim.json"
    with claimed(path):
        power.cut()
        power.restart()
        found = holder(path)
        assert found is not None
        assert (found.host, found.pid) == (socket.gethostname(), os.getpid())


def test_what_is_done_has_its_result(power):
    folder = TaskFolder(power.folder / "task")
    folder.finish(Trained(loss=1.5))
    power.cut()
    power.restart()
    assert folder.is_done
    assert records.read(folder.result, Trained) == Trained(loss=1.5)


def test_the_code_that_jobs_import(power):
    made = code_copy.write(Run(power.folder, "campaign"))
    before = contents(made)
    power.cut()
    power.restart()
    assert contents(made) == before
