"""What a campaign comes to on a site, before anything is submitted."""

import subprocess
import sys

import pytest
from scheduler_fakes import pretraining, tiny_plan
from whole_campaign import TINY

from pipeline.campaign import load_campaign
from pipeline.catalog import DeclarationError
from pipeline.planning.plan import (
    PACK,
    PILOT,
    PROGRAMS,
    RunOptions,
    job_key,
    make_plan,
    processes,
)
from pipeline.planning.scripts import write_scripts
from pipeline.planning.waves import log_name, waves
from pipeline.run import Run
from pipeline.site import load_site


def retrained(root, site, *, options=None, **training):
    """The plan of the quickstart's pretraining, its training changed."""
    run = Run(root, "quickstart")
    task = next(t for t in load_campaign("quickstart").tasks(run) if t.stage == "pretrain")
    changed = task.training.model_copy(update=training)
    task = task.model_copy(update={"training": changed})
    return make_plan([task], run, load_site(site), options or RunOptions())


def test_trainings_are_batch_jobs_and_all_else_shares_pilots(tmp_path):
    plan = tiny_plan(tmp_path)
    stages = {step.task.stage: step.in_pilot for step in plan.steps}
    assert stages == {
        "simulate": True,
        "stage": True,
        "pretrain": False,
        "finetune": False,
        "evaluate": True,
    }


@pytest.mark.parametrize(
    ("minutes", "links", "link_minutes"),
    [(60, 1, 60), (2880, 1, 2880), (2881, 2, 2880), (9000, 4, 2880)],
)
def test_a_training_longer_than_its_queue_is_a_chain(tmp_path, minutes, links, link_minutes):
    step = retrained(tmp_path, "perlmutter", walltime_minutes=minutes).steps[0]
    assert (step.links, step.link_minutes) == (links, link_minutes)


def test_a_training_shorter_than_its_queue_takes_asks_and_may_cost_that(tmp_path):
    options = RunOptions(qos="preempt")
    (step,) = retrained(tmp_path, "perlmutter", options=options, walltime_minutes=45).steps
    assert (step.links, step.link_minutes, step.node_hours) == (1, 120, 2 * step.nodes)
    (longer,) = retrained(tmp_path, "perlmutter", options=options, walltime_minutes=360).steps
    assert (longer.link_minutes, longer.node_hours) == (360, 3 * longer.nodes)


def test_node_hours_are_those_of_the_whole_chain(tmp_path):
    plan = retrained(tmp_path, "perlmutter", devices=64, batch_events=64, walltime_minutes=9000)
    assert plan.steps[0].nodes == 16
    assert plan.node_hours == 16 * 150
    assert plan.pilot_node_hours == 0.0


def test_pilots_are_counted_once_and_at_their_most(tmp_path):
    plan = tiny_plan(tmp_path, "perlmutter")
    pilots = [plan.pilots(kind) for kind in (PILOT, PACK)]
    most = sum(each.max_blocks * each.walltime_minutes / 60 for each in pilots)
    assert plan.pilot_node_hours == most
    assert plan.node_hours == plan.pilot_node_hours + sum(s.node_hours for s in plan.steps)


def test_a_queue_that_forbids_chains_gets_none(tmp_path):
    debug = RunOptions(qos="debug")
    assert retrained(tmp_path, "perlmutter", options=debug, walltime_minutes=30).steps[0].links == 1
    with pytest.raises(DeclarationError) as caught:
        retrained(tmp_path, "perlmutter", options=debug, walltime_minutes=31)
    assert str(caught.value) == (
        "perlmutter: pretrain/m0-d960-s1 needs 2 links, and QOS 'debug' forbids chains. "
        "Choose another with --qos."
    )


def test_a_queue_that_the_site_does_not_have(tmp_path):
    with pytest.raises(DeclarationError) as caught:
        tiny_plan(tmp_path, "perlmutter", qos="fast")
    assert str(caught.value) == (
        "perlmutter: no QOS 'fast'. Declared: regular, debug, preempt, premium, overrun."
    )
    with pytest.raises(DeclarationError, match=r"local: no QOS 'debug'. Declared: \(none\)."):
        tiny_plan(tmp_path, qos="debug")


def test_a_job_larger_than_its_queue(tmp_path):
    with pytest.raises(DeclarationError, match="QOS 'debug' takes 8 nodes, not 9"):
        retrained(
            tmp_path, "perlmutter", options=RunOptions(qos="debug"), devices=36, walltime_minutes=9
        )


def test_devices_fill_whole_nodes(tmp_path):
    training = load_campaign("quickstart").pretrain.training
    site = load_site("perlmutter")
    asked = {n: training.model_copy(update={"devices": n}) for n in (1, 2, 4, 8, 6)}
    spread = {n: processes(asked[n], site, site.training) for n in (1, 2, 4, 8)}
    assert spread == {1: (1, 1), 2: (1, 2), 4: (1, 4), 8: (2, 4)}
    with pytest.raises(DeclarationError) as caught:
        processes(asked[6], site, site.training)
    assert str(caught.value) == (
        "6 devices do not spread evenly over perlmutter's nodes of 4. Ask for a multiple of 4."
    )


def test_two_run_folders_never_share_a_job_key(tmp_path):
    here, there = Run(tmp_path / "a", "c"), Run(tmp_path / "b", "c")
    keys = {job_key(run, task, n) for run in (here, there) for task in "xy" for n in (1, 2)}
    assert len(keys) == 8
    assert job_key(here, "pretrain/m", 1) == job_key(here, "pretrain/m", 1)


def test_a_job_key_is_the_same_from_wherever_it_is_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert job_key(Run(tmp_path, "c"), "x", 1) == job_key(Run(tmp_path / "." / "", "c"), "x", 1)


def test_a_link_runs_the_task_s_program_on_its_folder(tmp_path):
    plan = tiny_plan(tmp_path, "perlmutter", project="m4722")
    step = pretraining(plan)
    job = plan.link(step, 2)
    folder = plan.run.task(step.task.key)
    assert job.command == (
        sys.executable,
        "-m",
        "pipeline.training.programs.pretrain",
        str(folder.path),
    )
    assert (job.nodes, job.processes_per_node) == (1, 2)
    assert (job.account, job.qos, job.node) == ("m4722_g", "regular", "gpu")
    assert job.folder == folder.logs
    assert plan.link(step, 1).key != job.key


def test_the_user_s_queue_is_for_trainings_alone(tmp_path):
    plan = tiny_plan(tmp_path, "perlmutter", qos="premium")
    assert plan.link(pretraining(plan), 1).qos == "premium"
    assert plan.pilot(["x"], 1).qos == "regular"


def test_every_program_is_there_to_be_started():
    command = [sys.executable, "-c", "import importlib.util as u, sys\nfor name in sys.argv[1:]:\n"]
    command[-1] += "    assert u.find_spec(name), name"
    subprocess.run([*command, *PROGRAMS.values()], check=True)


def test_parts_run_together_between_a_beginning_and_an_end(tmp_path):
    plan = tiny_plan(tmp_path)
    steps = {step.task.key: step.task for step in plan.steps}

    def options(key):
        task = steps[key]
        return [[line[4:] for line in wave] for wave in waves(task, plan.run.task(key))]

    parts = [["--part", "0"], ["--part", "1"]]
    assert options("simulate/collisions") == [parts, [["--finish"]]]
    assert options("stage/unlabelled") == [[["--begin"]], parts, [["--finish"]]]
    evaluation = next(key for key in steps if key.startswith("evaluate"))
    assert options(evaluation) == [[[]]]


def test_every_part_has_a_log_of_its_own(tmp_path):
    plan = tiny_plan(tmp_path)
    for step in plan.steps:
        folder = plan.run.task(step.task.key)
        names = [log_name(line) for wave in waves(step.task, folder) for line in wave]
        assert len(set(names)) == len(names)
        assert all(name.endswith(".log") for name in names)


@pytest.mark.parametrize("site", ["perlmutter", "frontier", "local", "testbed"])
def test_the_scripts_of_a_plan_are_one_per_training_and_a_pilot_s(tmp_path, site):
    plan = tiny_plan(tmp_path / "runs", site, project="m4722")
    written = write_scripts(plan, tmp_path / "scripts")
    assert len(written) == len(plan.kinds) + sum(not step.in_pilot for step in plan.steps)
    for path in written:
        subprocess.run(["bash", "-n", str(path)], check=True)
    assert sum("pipeline.training" in path.read_text() for path in written) == (
        len(written) - len(plan.kinds)
    )
    assert not (tmp_path / "runs").exists()


def on_whole_nodes(root, **packs):
    """The tiny campaign on the test bed, with nodes of two devices and packs on them."""
    site = load_site("testbed")
    node = site.nodes["gpu"].model_copy(update={"devices": 2, "exclusive": True})
    pack = site.pilot.model_copy(update={"workers_per_node": 2, **packs})
    site = site.model_copy(update={"nodes": {"gpu": node}, "packs": pack})
    run = Run(root, "tiny")
    return make_plan(load_campaign(str(TINY)).tasks(run), run, site, RunOptions(project="m1"))


def test_trainings_of_one_device_share_nodes_that_are_only_to_be_had_whole(tmp_path):
    plan = on_whole_nodes(tmp_path)
    kinds = {step.task.stage: step.shares for step in plan.steps}
    assert kinds == {
        "simulate": "pilot",
        "stage": "pilot",
        "pretrain": "",
        "finetune": "pack",
        "evaluate": "pilot",
    }
    assert plan.kinds == ["pilot", "pack"]
    assert plan.pilot_node_hours == 2 * plan.node_hours_of("pack")


def test_a_training_longer_than_a_pack_has_a_node_of_its_own(tmp_path):
    plan = on_whole_nodes(tmp_path, walltime_minutes=4)
    assert {step.shares for step in plan.steps if step.task.stage == "finetune"} == {""}


def test_a_training_in_a_pack_is_a_process_of_its_own(tmp_path):
    plan = on_whole_nodes(tmp_path)
    step = next(step for step in plan.steps if step.shares == "pack")
    (((*words, folder),),) = waves(step.task, plan.run.task(step.task.key))
    assert "WORLD_SIZE=1" in words
    assert words[-3:] == [sys.executable, "-m", "pipeline.training.programs.finetune"]
    assert folder == str(plan.run.task(step.task.key).path)
    assert log_name([*words, folder]) == "run.log"


def test_a_chain_needs_no_controller_where_there_is_a_scheduler(tmp_path):
    plan = retrained(tmp_path, "perlmutter", walltime_minutes=9000)
    job = plan.link(plan.steps[0], 2)
    folder = str(plan.run.task(plan.steps[0].task.key).path)
    program = (sys.executable, "-m", "pipeline.chains.continuation")
    assert job.before == (*program, "begin", folder, "2")
    assert job.afterwards == (*program, "end", folder, "2")
    here = tiny_plan(tmp_path)
    assert here.link(pretraining(here), 1).before == ()
