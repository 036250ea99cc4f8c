"""What may run code is refused where another user wrote it, unless that user is accepted."""

import os
import py_compile
import subprocess
from pathlib import Path

import pytest

from pipeline import catalog, trust
from pipeline.data import custom_code
from pipeline.data.errors import BadInput
from pipeline.job import Job
from pipeline.planning import code_copy
from pipeline.run import Run
from pipeline.scheduler import render
from pipeline.scheduler.script import exports
from pipeline.site import load_site

OTHER = 61234  # the number of a user that nobody has
OWN, ROOT = os.geteuid(), 0


def of_another(path, monkeypatch):
    """Let `path` be another user's; return whose. Only root can give it away."""
    if OWN == ROOT:
        for each in (path, *path.rglob("*")):
            os.chown(each, OTHER, -1)
        return OTHER
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    return OWN


@pytest.fixture
def code(tmp_path):
    """A Python file that leaves a trace when it runs."""
    path = tmp_path / "mine.py"
    path.write_text(f"open({str(tmp_path / 'trace')!r}, 'w').close()\nNAME = 'mine'\n")
    return path


def name_of(owner):
    """What the owner is called in a message."""
    return trust.user_name(owner)


def test_a_file_of_ones_own_runs(code, tmp_path):
    assert custom_code.load(code, "NAME") == "mine"
    assert (tmp_path / "trace").exists()


def test_a_file_of_root_runs_for_everybody(code, monkeypatch):
    if OWN != ROOT:
        pytest.skip("only root has files of root's")
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    assert custom_code.load(code, "NAME") == "mine"


def test_a_file_of_another_user_does_not_run(code, tmp_path, monkeypatch):
    name = name_of(of_another(code, monkeypatch))
    with pytest.raises(BadInput) as caught:
        custom_code.load(code, "NAME")
    assert str(caught.value) == (
        f"{code}: belongs to {name}, and may run code as you. Read it; then make a copy of your "
        f"own, or accept what {name} writes: export COSMOTRON_TRUSTED_USERS={name}"
    )
    assert not (tmp_path / "trace").exists()


def test_it_runs_once_its_owner_is_accepted(code, monkeypatch):
    name = name_of(of_another(code, monkeypatch))
    monkeypatch.setenv(trust.ACCEPTED, "somebody")
    with pytest.raises(BadInput, match=f"COSMOTRON_TRUSTED_USERS=somebody,{name}"):
        custom_code.load(code, "NAME")
    monkeypatch.setenv(trust.ACCEPTED, f"somebody, {name}")
    assert custom_code.load(code, "NAME") == "mine"


def test_bytecode_that_lies_beside_a_file_does_not_run(code, tmp_path):
    poison = tmp_path / "poison.py"
    poison.write_text("NAME = 'poison'\n")
    cached = tmp_path / "__pycache__" / Path(py_compile.compile(str(code), doraise=True)).name
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(poison), cfile=str(cached), invalidation_mode=unchecked)
    assert custom_code.load(code, "NAME") == "mine"


def test_a_site_file_of_another_user_is_refused(tmp_path, monkeypatch, cosmotron):
    path = tmp_path / "own.toml"
    path.write_text((catalog.folder("sites") / "local.toml").read_text())
    assert load_site(str(path)).name == "local"
    of_another(path, monkeypatch)
    with pytest.raises(trust.OtherOwnerError, match="may run code as you"):
        load_site(str(path))
    told = cosmotron("plan", "quickstart", "--site", path)
    assert told.code == 65
    assert f"{path}: belongs to" in told.words


def test_the_copy_of_the_code_is_ones_own_and_closed_to_others(tmp_path, monkeypatch):
    run = Run(tmp_path, "campaign")
    before = os.umask(0o002)
    try:
        theirs = code_copy.write(run)
    finally:
        os.umask(before)
    assert not any(path.stat().st_mode & 0o022 for path in (theirs, *theirs.rglob("*")))
    of_another(theirs, monkeypatch)
    mine = code_copy.folder(run)
    assert mine != theirs
    assert mine.name == f"{theirs.name}-{os.geteuid()}"


def job(code):
    """A job that imports the copy `code`."""
    return Job(
        key="tiny.made.1",
        folder=code.parent,
        command=("true",),
        node="laptop",
        nodes=1,
        processes_per_node=1,
        walltime_minutes=1,
        account="",
        qos="",
        code=str(code),
    )


def test_a_job_does_not_run_a_copy_that_is_not_ones_own(tmp_path):
    code = tmp_path / "code" / "abc"
    code.mkdir(parents=True)
    script = render(job(code), load_site("local"))

    def ended():
        return subprocess.run(
            ["bash"], input=script, capture_output=True, text=True, check=False, timeout=60
        )

    assert ended().returncode == 0
    if OWN == ROOT:
        os.chown(code, OTHER, -1)
    else:
        code.rmdir()
    told = ended()
    assert told.returncode == 65
    assert told.stderr == f"{code}: not there, or not yours; see docs/trust.md\n"


def test_the_programs_of_a_job_accept_whom_its_user_accepts(tmp_path, monkeypatch):
    monkeypatch.delenv(trust.ACCEPTED, raising=False)
    site = load_site("local")
    assert trust.ACCEPTED not in dict(exports(job(tmp_path), site))
    monkeypatch.setenv(trust.ACCEPTED, " ada,grace ")
    assert dict(exports(job(tmp_path), site))[trust.ACCEPTED] == "ada,grace"


def test_a_user_without_a_name_is_a_number(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 61002)
    assert trust.user_name() == "61002"
    assert trust.user_name(0) == "root"
