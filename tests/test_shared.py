"""A run that a group shares: what one member makes, another reads and goes on with."""

import os
import stat
import sys
import textwrap
from functools import partial

import pytest
from scheduler_fakes import pretraining, tiny_plan
from two_users import ADA, GRACE, GROUP, shared_place, started
from whole_campaign import TINY

from pipeline import shared
from pipeline.catalog import DeclarationError
from pipeline.scheduler import render


@pytest.fixture
def place():
    """A folder that two users may enter."""
    with shared_place() as folder:
        yield folder


@pytest.fixture(autouse=True)
def umask():
    """The umask of this process is as before after each test."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def as_user(user, place, code):
    """Run Python code as one of the users; return what it prints."""
    words = [sys.executable, "-c", textwrap.dedent(code)]
    process = started(user, place, words, PLACE=str(place / "project" / "run"))
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0, told
    return told


WRITES = """
    import os
    from pathlib import Path
    from pipeline import shared
    from pipeline.budget.ledger import Ledger
    from pipeline.budget.record import Kind, Record
    from pipeline.claims import claimed
    from pipeline.records import Trained
    from pipeline.run import Run, TaskFolder
    from pipeline.planning import code_copy
    from pipeline.writing import new_folder, write_text

    run = Run(Path(os.environ["PLACE"]).parent, "run")
    shared.share(run.path, "61234")
    with claimed(run.claim):
        record = dict(kind=Kind.RESERVE, time=1.0, task="t", stage="s", site="local", node_hours=1)
        Ledger(run.path / "ledger").append(Record(job_key=str(os.getuid()), **record))
    run.task("pretrain/a").finish(Trained(loss=os.getuid()))
    with new_folder(run.path / "model", replaces=True) as folder:
        write_text(folder / "deep" / "config.toml", "")
    print(code_copy.write(run).stat().st_uid, len(Ledger(run.path / "ledger").records()))
"""


def test_the_second_user_reads_all_and_goes_on(place):
    assert as_user(ADA, place, WRITES).split() == [str(ADA), "1"]
    assert as_user(GRACE, place, WRITES).split() == [str(GRACE), "2"]
    assert as_user(ADA, place, WRITES).split() == [str(ADA), "3"]
    run = place / "project" / "run"
    for path in (run, *run.rglob("*")):
        made = path.stat()
        assert made.st_gid == GROUP, path
        if path.is_relative_to(run / "code"):
            continue  # nobody changes what another runs
        wanted = 0o2070 if path.is_dir() else 0o060
        assert made.st_mode & wanted == wanted, f"{path}: {stat.filemode(made.st_mode)}"


def test_weights_are_the_groups_too(place):
    pytest.importorskip("torch")
    code = """
        import os, torch
        from pathlib import Path
        from pipeline import shared
        from pipeline.training.weights import load, save
        folder = Path(os.environ["PLACE"])
        shared.share(folder, "61234")
        if (folder / "weights.safetensors").exists():
            print(load(folder / "weights.safetensors")["w"].sum().item())
        save({"w": torch.ones(4)}, folder / "weights.safetensors", {})
    """
    as_user(ADA, place, code)
    assert as_user(GRACE, place, code).split()[-1] == "4.0"


def test_what_was_made_before_a_run_was_shared_is_shared_too(tmp_path):
    (tmp_path / "run" / "ledger").mkdir(parents=True)
    (tmp_path / "run" / "ledger" / "record.json").write_text("{}")
    (tmp_path / "run" / "link").symlink_to("/nowhere")
    (tmp_path / "run" / "keys").mkdir(mode=0o700)
    (tmp_path / "run" / "keys" / "key").write_text("secret")
    (tmp_path / "run" / "task.toml").touch(mode=0o600)
    copy = tmp_path / "run" / "code" / "copy"
    copy.mkdir(parents=True, mode=0o755)
    (copy / "a.py").write_text("")
    group = os.getgid()
    assert not shared.is_shared(tmp_path / "run")
    shared.share(tmp_path / "run", str(group), closed=tmp_path / "run" / "code")
    assert shared.is_shared(tmp_path / "run" / "ledger")
    assert shared.is_shared(tmp_path / "run" / "code")
    assert (copy / "a.py").stat().st_mode & 0o022 == 0
    assert copy.stat().st_mode & 0o022 == 0
    assert (tmp_path / "run" / "ledger" / "record.json").stat().st_mode & 0o060 == 0o060
    assert (tmp_path / "run" / "keys").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "run" / "keys" / "key").stat().st_mode & 0o020 == 0
    assert (tmp_path / "run" / "task.toml").stat().st_mode & 0o777 == 0o600
    (tmp_path / "run" / "new").mkdir()
    assert shared.is_shared(tmp_path / "run" / "new")


def test_who_works_in_a_shared_run_writes_for_the_group(tmp_path):
    shared.follow(tmp_path)
    assert os.umask(0o022) == 0o022
    shared.share(tmp_path / "run", str(os.getgid()))
    os.umask(0o022)
    shared.follow(tmp_path / "run")
    assert os.umask(0o022) == 0o002


def test_a_group_that_is_not_there_is_told_with_those_that_are(tmp_path):
    with pytest.raises(DeclarationError, match=r"group 'nobodys': not known here. Yours: "):
        shared.share(tmp_path / "run", "nobodys")


def test_a_group_of_others_is_told(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(DeclarationError, match="you are not in it"):
        shared.share(tmp_path / "run", str(GROUP))


@pytest.mark.parametrize("site", ["local", "perlmutter", "polaris"])
def test_scripts_of_a_shared_run_write_for_the_group(tmp_path, site):
    plan = tiny_plan(tmp_path, site, project="m1")
    jobs = [partial(plan.link, pretraining(plan), 1), partial(plan.pilot, ["worker"], 1)]
    assert not any("umask" in render(job(), plan.site) for job in jobs)
    shared.share(plan.run.path, str(os.getgid()))
    for job in jobs:
        before, _, after = render(job(), plan.site).partition("\numask 002\n")
        assert "export" not in before
        assert "export" in after


def test_a_run_of_no_known_group_does_not_begin(tmp_path, cosmotron):
    told = cosmotron("run", TINY, "--site", "local", "--root", tmp_path, "--yes", "--group", "none")
    assert told.code == 2
    assert "group 'none': not known here. Yours: " in told.words
    assert not (tmp_path / "tiny").exists()
