"""Wrong use is told before anything is submitted, each in a line that says what to type."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from scheduler_fakes import FakeScheduler, pretraining, tiny_plan

from pipeline.catalog import DeclarationError
from pipeline.planning.misuse import check, file_system, misuse, shortest_minutes
from pipeline.run import Run
from pipeline.site import Container, FileSystem, load_site


@pytest.fixture
def plan(tmp_path):
    return tiny_plan(tmp_path, "testbed", project="m4722")


def on_site(plan, **changes):
    return replace(plan, site=plan.site.model_copy(update=changes))


def told(plan, **scheduler):
    made = FakeScheduler()
    vars(made).update(scheduler)
    return misuse(plan, made)


def test_what_is_asked_rightly_passes(plan):
    assert told(plan, known_accounts={"m4722"}) == []
    check(plan, FakeScheduler())


def test_more_nodes_than_the_site_has(plan):
    step = pretraining(plan)
    (line,) = told(replace(plan, steps=[replace(step, nodes=5)]))
    assert line == (
        f"{step.task.key} requests 5 nodes, and Slurm test bed has 4 of the kind 'gpu'. "
        "Lower `devices` in the campaign."
    )


def test_pilots_longer_than_their_bin(plan, monkeypatch):
    monkeypatch.setattr("pipeline.planning.plan.fitted", lambda declared, *_: declared)
    pilot = plan.site.pilot.model_copy(update={"walltime_minutes": 2881})
    (line,) = told(on_site(plan, pilot=pilot))
    assert line.startswith(
        "testbed: its pilots request 2881 minutes, and 1 node(s) get at most 2880."
    )
    assert line.endswith("Correct pilot.walltime_minutes in a site file of your own (--site).")


def test_an_account_that_is_not_the_user_s(plan):
    (line,) = told(plan, known_accounts={"m1", "m2_g"})
    assert line == (
        "'m4722' is no account of yours on Slurm test bed. Yours: m1, m2_g. "
        "Give another with --project."
    )


def test_an_account_with_its_suffix(tmp_path):
    plan = tiny_plan(tmp_path, "perlmutter", project="m4722")
    assert "'m4722_g' is no account" in "\n".join(told(plan, known_accounts={"m4722"}))


def container(probe):
    return Container(recipe="cpu.Dockerfile", run=("run", "{image}"), probe=probe)


def test_an_image_that_is_missing(plan, tmp_path):
    plan = replace(plan, options=replace(plan.options, image=str(tmp_path / "x.sif")))
    here = on_site(plan, container=container(("test", "-e", "{image}")))
    (line,) = told(here)
    assert f"the image {tmp_path}/x.sif does not exist, by `test -e {tmp_path}/x.sif`." in line
    assert "Build it from containers/cpu.Dockerfile" in line
    (tmp_path / "x.sif").touch()
    assert told(here) == []


def test_an_image_that_nobody_can_look_for(plan):
    plan = replace(plan, options=replace(plan.options, image="x"))
    (line,) = told(on_site(plan, container=container(("no-such-engine", "{image}"))))
    assert "the image x does not exist" in line


def test_a_site_that_runs_no_images(plan):
    plan = replace(plan, options=replace(plan.options, image="x"))
    (line,) = told(on_site(plan, container=None))
    assert line == ("Slurm test bed declares no way to run an image. Leave out --image x.")


def test_a_run_folder_without_locks(plan, tmp_path):
    there = FileSystem(root=str(tmp_path), locks=False)
    (line,) = told(on_site(plan, file_systems={"cfs": there}))
    assert line.startswith(f"{plan.run.path} lies on cfs, where locks (flock) do not work")
    assert "Choose another folder with --root" in line


def test_a_run_folder_that_is_not_for_runs(plan, tmp_path):
    there = FileSystem(root=str(tmp_path), locks=True, for_runs=False)
    (line,) = told(on_site(plan, file_systems={"home": there}))
    assert "lies on home, which is not for runs." in line


def test_a_purge_before_the_end(plan, tmp_path):
    long = replace(pretraining(plan), links=100, link_minutes=1440)
    plan = replace(plan, steps=[long])
    there = FileSystem(root=str(tmp_path), locks=True, purge_days=56)
    (line,) = told(on_site(plan, file_systems={"scratch": there}))
    purged = (datetime.now(UTC) + timedelta(days=56)).strftime("%Y-%m-%d")
    over = (datetime.now(UTC) + timedelta(days=100)).strftime("%Y-%m-%d")
    assert f"may be purged from {purged} on (56 days)" in line
    assert f"ends on {over} at the earliest" in line
    assert told(on_site(plan, file_systems={}, purge_days=101)) == []


def test_the_shortest_time_is_the_longest_way_through_the_graph(plan):
    minutes = {step.task.key: step.link_minutes for step in plan.steps}
    pretrained = next(value for key, value in minutes.items() if key.startswith("pretrain"))
    tuned = next(value for key, value in minutes.items() if key.startswith("finetune"))
    assert shortest_minutes(plan) == pretrained + tuned


def test_the_innermost_file_system_counts(monkeypatch):
    monkeypatch.setenv("HOME", "/global/homes/a/alice")
    monkeypatch.setenv("SCRATCH", "/pscratch/sd/a/alice")
    site = load_site("perlmutter")
    assert file_system(site, Path("/pscratch/sd/a/alice/cosmotron/x"))[0] == "scratch"
    assert file_system(site, Path("/global/cfs/cdirs/m1/x"))[1].locks is False
    assert file_system(site, Path("/global/homes/a/alice/x"))[1].for_runs is False
    assert file_system(site, Path("/elsewhere")) is None


def test_all_is_told_at_once_and_the_way_round_it(plan, tmp_path):
    scheduler = FakeScheduler()
    scheduler.known_accounts = set()
    there = FileSystem(root=str(tmp_path), locks=False)
    with pytest.raises(DeclarationError) as caught:
        check(on_site(plan, file_systems={"cfs": there}), scheduler)
    lines = str(caught.value).splitlines()
    assert lines[0] == "Nothing was submitted:"
    assert len(lines) == 4
    assert "Yours: none." in lines[2]
    assert lines[-1] == "To submit anyway: --no-check"
    assert not Run(tmp_path, "tiny").path.exists()


def test_a_precision_that_the_devices_have_not(plan):
    step = pretraining(plan)
    training = step.task.training.model_copy(update={"precision": "tf32"})
    task = step.task.model_copy(update={"training": training})
    asked = replace(plan, steps=[replace(step, task=task)])
    assert told(on_site(asked, accelerator="cuda")) == []
    (line,) = told(on_site(asked, accelerator="rocm"))
    assert line.startswith('precision = "tf32" is of NVIDIA\'s GPUs, and Slurm test bed has none')
