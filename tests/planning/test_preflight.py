"""What `sites check` finds, and what it tells to do about it."""

import _ctypes
import json
import os
import shutil
import time

import pytest
from scheduler_fakes import FakeScheduler, tiny_plan

from pipeline.catalog import DeclarationError
from pipeline.planning.plan import RunOptions
from pipeline.planning.preflight import before_submission, login
from pipeline.planning.preflight import files as files_module
from pipeline.planning.preflight.check import printed
from pipeline.planning.preflight.files import files
from pipeline.planning.preflight.job import judged, network
from pipeline.planning.preflight.login import PACKAGES
from pipeline.scheduler import NotNowError
from pipeline.site import FileSystem, load_site

TESTBED = load_site("testbed")
PERLMUTTER = load_site("perlmutter")
FRONTIER = load_site("frontier")


def rows_of(found):
    return {row.name: row for row in found}


def looked(site, tmp_path, scheduler=None, **asked):
    made = scheduler or FakeScheduler()
    return rows_of(login(site, made, tmp_path, RunOptions(**asked)))


def commands(monkeypatch, tmp_path, **scripts):
    """Put small programs on PATH, before all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def without_modules(site, *prologue):
    """That site, whose modules need no `module` here."""
    return site.model_copy(update={"modules": (), "prologue": prologue})


@pytest.mark.parametrize("site", [PERLMUTTER, FRONTIER])
def test_a_network_plug_in_that_no_job_would_find(site, tmp_path):
    row = looked(without_modules(site), tmp_path)["network plug-in"]
    assert row.state == "failed"
    assert row.found.startswith(f"no lib{'r' if site is FRONTIER else 'n'}ccl-net.so")
    assert f'NCCL_NET asks for "{site.network_plugin}"' in row.found
    assert "--image" in row.todo
    assert "LD_LIBRARY_PATH in the `prologue`" in row.todo


@pytest.mark.parametrize("name", ["librccl-net.so", "libnccl-net.so"])
def test_a_network_plug_in_that_the_loader_finds(name, tmp_path):
    shutil.copy(_ctypes.__file__, tmp_path / name)
    site = without_modules(FRONTIER, f"export LD_LIBRARY_PATH={tmp_path}")
    row = looked(site, tmp_path)["network plug-in"]
    assert (row.state, row.found) == ("ok", f"{name} is found")


def test_a_file_that_is_no_library_is_no_plug_in(tmp_path):
    (tmp_path / "libnccl-net.so").write_text("a stub")
    site = without_modules(PERLMUTTER, f"export LD_LIBRARY_PATH={tmp_path}")
    assert looked(site, tmp_path)["network plug-in"].state == "failed"


def test_where_no_plug_in_is_needed_none_is_looked_for(tmp_path):
    assert looked(TESTBED, tmp_path)["network plug-in"].found == "this site names none"
    row = looked(PERLMUTTER, tmp_path, image="ours:1")["network plug-in"]
    assert row.found == "the image brings its own; --job tries it"


def test_an_account_of_one_s_own(tmp_path):
    scheduler = FakeScheduler()
    scheduler.known_accounts = {"m4722", "m4722_g"}
    rows = looked(PERLMUTTER, tmp_path, scheduler, project="m4722")
    assert rows["account"].state == "ok"


def test_an_account_of_somebody_else_s(tmp_path):
    scheduler = FakeScheduler()
    scheduler.known_accounts = {"m1"}
    row = looked(TESTBED, tmp_path, scheduler, project="m4722")["account"]
    assert (row.state, row.found) == ("failed", "'m4722' is none of yours")
    assert row.todo == "Give one of yours with --project."


def test_no_account(tmp_path):
    scheduler = FakeScheduler()
    scheduler.known_accounts = {"m1"}
    assert looked(TESTBED, tmp_path, scheduler)["account"].state == "warning"


def test_a_scheduler_that_lists_no_accounts(tmp_path):
    assert (
        looked(load_site("polaris"), tmp_path)["account"].found == "its scheduler lists no accounts"
    )
    assert looked(load_site("local"), tmp_path)["account"].found == "jobs on this machine are free"


def test_a_scheduler_that_does_not_answer(tmp_path, monkeypatch):
    def away():
        raise NotNowError("sacctmgr did not answer within 60 s")

    scheduler = FakeScheduler()
    monkeypatch.setattr(scheduler, "accounts", away)
    row = looked(TESTBED, tmp_path, scheduler)["scheduler"]
    assert (row.state, row.found) == ("failed", "sacctmgr did not answer within 60 s")
    assert row.todo == "Run this on a login node of the site."


@pytest.mark.parametrize(
    ("says", "qos", "state"),
    [
        ("echo regular; echo debug", "debug", "ok"),
        ("echo regular", "debug", "warning"),
        ("exit 1", "debug", "warning"),
        ("echo regular", "fast", "failed"),
    ],
)
def test_a_queue(tmp_path, monkeypatch, says, qos, state):
    commands(monkeypatch, tmp_path, sacctmgr=says)
    assert looked(TESTBED, tmp_path, qos=qos)["queue"].state == state


def test_a_queue_that_slurm_calls_otherwise(tmp_path, monkeypatch):
    commands(monkeypatch, tmp_path, sacctmgr="echo gpu_regular")
    regular = TESTBED.qos["regular"].model_copy(update={"internal": ("gpu_regular", "regular_1")})
    site = TESTBED.model_copy(update={"qos": {"regular": regular}})
    assert looked(site, tmp_path)["queue"].state == "ok"


@pytest.mark.parametrize(("says", "state"), [("echo extended", "ok"), ("echo batch", "warning")])
def test_a_queue_that_is_a_partition(tmp_path, monkeypatch, says, state):
    commands(monkeypatch, tmp_path, sinfo=says)
    row = looked(FRONTIER, tmp_path, qos="extended")["queue"]
    assert row.state == state
    assert state == "ok" or row.found == "the scheduler knows no partition 'extended', only batch"


def test_options_that_a_user_set_for_sinfo_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SINFO_PARTITION", "batch")
    commands(monkeypatch, tmp_path, sinfo='echo "${SINFO_PARTITION:-extended}"')
    assert looked(FRONTIER, tmp_path, qos="extended")["queue"].state == "ok"


def test_a_module_that_is_gone(tmp_path, monkeypatch):
    commands(monkeypatch, tmp_path, module='[ "$2" != rocm/7.1.1 ] || { echo no such; exit 1; }')
    profile = tmp_path / "profile"
    profile.write_text(f"export PATH={tmp_path}/bin:$PATH\n")
    monkeypatch.setenv("BASH_ENV", str(profile))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".bash_profile").write_text(profile.read_text())
    rows = looked(FRONTIER, tmp_path)
    assert rows["module cpe/26.03"].state == "ok"
    gone = rows["module rocm/7.1.1"]
    assert (gone.state, gone.found) == ("failed", "no such")
    assert "See `module avail rocm`" in gone.todo


def test_a_balance_is_shown_as_the_site_prints_it(tmp_path):
    site = TESTBED.model_copy(update={"balance_command": "echo 1234 hours left"})
    row = looked(site, tmp_path)["balance"]
    assert (row.state, row.found) == ("ok", "echo 1234 hours left:\n1234 hours left")
    site = TESTBED.model_copy(update={"balance_command": "exit 4"})
    assert looked(site, tmp_path)["balance"].state == "warning"


@pytest.mark.parametrize(
    ("left", "state", "words"),
    [
        (19873.7, "ok", "19,874 node-hours left of 20,000 of m4722"),
        (-5.0, "warning", "-5 node-hours left of"),
        ("some", "warning", "cannot be read"),
    ],
)
def test_a_balance_whose_print_is_known_is_read(tmp_path, left, state, words):
    used = 20000 - left if isinstance(left, float) else left
    command = f"echo 'm4722 | 20000 | {used} | {left} | 0'"
    site = TESTBED.model_copy(update={"balance_command": command, "balance_format": "showusage"})
    row = looked(site, tmp_path, project="m4722")["balance"]
    assert row.state == state
    assert words in row.found + row.todo


def test_a_package_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(PACKAGES, "no-such-package", "data")
    row = looked(TESTBED, tmp_path)["package no-such-package"]
    assert (row.state, row.todo) == ("failed", "pip install 'cosmotron[data]'")


def test_an_image_that_is_missing(tmp_path):
    row = looked(TESTBED, tmp_path, image="x.sif")["image"]
    assert row.state == "failed"
    assert "declares no way to run an image" in row.found


def on(tmp_path, **facts):
    there = FileSystem(root=str(tmp_path), **({"locks": True} | facts))
    return TESTBED.model_copy(update={"file_systems": {"scratch": there}})


def test_a_folder_that_is_fit_for_runs(tmp_path):
    rows = rows_of(files(on(tmp_path, quota_command="echo 5 of 20 TB"), tmp_path / "runs"))
    wanted = ("run folder", "locks", "hard links", "clock", "quota")
    assert {name: rows[name].state for name in wanted} == dict.fromkeys(wanted, "ok")
    assert rows["quota"].found.endswith("5 of 20 TB")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    (row,) = files(TESTBED, tmp_path / "file" / "runs")
    assert (row.state, row.todo) == ("failed", "Choose another with --root.")


def test_a_folder_that_is_not_for_runs(tmp_path):
    rows = rows_of(files(on(tmp_path, for_runs=False), tmp_path))
    assert rows["run folder"].state == "failed"


def test_a_folder_that_nobody_declared(tmp_path):
    rows = rows_of(files(on(tmp_path / "other"), tmp_path))
    assert rows["run folder"].state == "warning"


def test_locks_that_keep_nobody_out(tmp_path, monkeypatch):
    monkeypatch.setattr(files_module, "TRY_LOCK", "import sys; sys.exit(0)")
    row = rows_of(files(TESTBED, tmp_path))["locks"]
    assert (row.state, row.found) == ("failed", "flock lets two processes in at once")
    assert "Choose another file system with --root" in row.todo


def test_links_that_are_not_to_be_had(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    row = rows_of(files(TESTBED, tmp_path))["hard links"]
    assert (row.state, row.found) == ("failed", "Operation not supported")


def test_files_that_are_about_to_be_purged(tmp_path):
    old = tmp_path / "old.npz"
    old.write_text("")
    then = time.time() - 50 * 86400
    os.utime(old, (then, then))
    row = rows_of(files(on(tmp_path, purge_days=56), tmp_path))["purge"]
    assert (row.state, row.found) == (
        "warning",
        f"1 file(s) are purged within 7 days, such as {old}",
    )
    assert rows_of(files(on(tmp_path, purge_days=90), tmp_path))["purge"].state == "ok"


def test_a_command_that_hangs_is_a_row_and_no_hang():
    assert printed(["sleep", "9"], seconds=0.2) == (124, "sleep did not end within 0.2 s")
    assert printed(["no-such-command"])[0] == 127


def ranks(site, hosts=2, **changes):
    """What the processes of a good job on `site` would report."""
    node = site.nodes[site.training.node]
    told = []
    for host in range(hosts):
        for local in range(node.devices):
            rank = host * node.devices + local
            told.append(
                {
                    "rank": rank,
                    "host": f"nid{host}",
                    "clock": 1000.0,
                    "device": "cuda",
                    "devices_visible": 1 if node.device_index == "zero" else node.gpus,
                    "device_uuid": f"GPU-{rank}",
                    "cpus": [2 * local, 2 * local + 1],
                    "all_reduce": {"gb_per_s": 20.0, "latency_us": 30.0},
                    "step_loss": 0.5,
                    "scratch": {"write_gb_per_s": 1.0, "read_gb_per_s": 2.0},
                }
                | changes
            )
    return told


@pytest.mark.parametrize(("site", "plugin"), [(PERLMUTTER, "AWS Libfabric"), (FRONTIER, "OFI")])
def test_a_job_that_sees_what_it_should(site, plugin):
    rows = list(judged(site, 2, ranks(site), {plugin}))
    assert {row.state for row in rows} == {"ok"}


@pytest.mark.parametrize("used", [{"Socket"}, set(), {"AWS Libfabric", "Socket"}])
def test_a_fall_back_to_tcp_is_refused_on_several_nodes(used):
    row = rows_of(judged(PERLMUTTER, 2, ranks(PERLMUTTER), used))["network"]
    assert row.state == "failed"
    assert "Socket is many times slower" in row.todo
    assert rows_of(judged(PERLMUTTER, 1, ranks(PERLMUTTER, 1), used))["network"].state == "ok"


@pytest.mark.parametrize(
    ("name", "changes", "state"),
    [
        ("devices", {"devices_visible": 8}, "failed"),
        ("devices", {"device_uuid": "GPU-0"}, "failed"),
        ("binding", {"cpus": [0]}, "warning"),
        ("processes", {"host": "nid0"}, "failed"),
    ],
)
def test_a_job_that_sees_what_it_should_not(name, changes, state):
    row = rows_of(judged(FRONTIER, 2, ranks(FRONTIER, **changes), {"OFI"}))[name]
    assert row.state == state
    assert row.todo


def test_processes_that_differ():
    told = ranks(PERLMUTTER)
    told[0]["step_loss"], told[1]["clock"] = 0.6, 1002.0
    rows = rows_of(judged(PERLMUTTER, 2, told, {"AWS Libfabric"}))
    assert rows["DeepSpeed"].state == "failed"
    assert rows["clocks"].state == "warning"


def test_the_network_is_read_from_nccl_s_log(tmp_path):
    """The form of the lines is NCCL's own: src/init.cc and the plug-in's, at NCCL_DEBUG=INFO."""
    (tmp_path / "nccl.nid1.42.log").write_text(
        "nid1:42:42 [0] NCCL INFO Bootstrap: Using hsn0:10.249.0.1<0>\n"
        "nid1:42:42 [0] NCCL INFO NET/OFI Selected provider is cxi, fabric is cxi\n"
        "nid1:42:99 [0] NCCL INFO Using network AWS Libfabric\n"
    )
    assert network(tmp_path) == {"AWS Libfabric"}
    (tmp_path / "nccl.nid2.43.log").write_text("nid2:43:99 [0] NCCL INFO Using network Socket\n")
    assert network(tmp_path) == {"AWS Libfabric", "Socket"}


@pytest.fixture
def plan(tmp_path, monkeypatch):
    commands(monkeypatch, tmp_path, sacctmgr="echo regular")
    return tiny_plan(tmp_path / "runs", "testbed", project="m4722")


def test_the_first_submission_looks_by_itself_and_the_next_of_a_day_does_not(plan):
    scheduler = FakeScheduler()
    scheduler.known_accounts = {"m4722"}
    assert before_submission(plan, scheduler)
    assert json.loads(plan.run.preflight.read_text())["request"][:2] == ["testbed", "m4722"]
    assert before_submission(plan, scheduler) == []
    told = json.loads(plan.run.preflight.read_text())
    plan.run.preflight.write_text(json.dumps(told | {"time": time.time() - 25 * 3600}))
    assert before_submission(plan, scheduler)


def test_a_row_that_failed_stops_the_first_submission(plan):
    scheduler = FakeScheduler()
    scheduler.known_accounts = {"m1"}
    with pytest.raises(DeclarationError) as caught:
        before_submission(plan, scheduler)
    assert str(caught.value).splitlines() == [
        "Nothing was submitted:",
        "  - account: 'm4722' is none of yours. Give one of yours with --project.",
        "All rows: cosmotron sites check testbed. To submit anyway: --no-check",
    ]
    assert not plan.run.preflight.exists()


def test_without_a_scheduler_nothing_is_looked_at(tmp_path):
    assert before_submission(tiny_plan(tmp_path), FakeScheduler()) == []
