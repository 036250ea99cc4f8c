"""Which nodes are avoided, after what, and for how long."""

import json

import pytest
from scheduler_fakes import FakeScheduler, pretraining, tiny_plan

from pipeline.chains import node_exclusion
from pipeline.chains.job_manager import JobManager
from pipeline.chains.node_exclusion import EXPIRY_SECONDS, excluded, note
from pipeline.chains.watch import Chain
from pipeline.job import State
from pipeline.run import Run


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path, "tiny")


def test_the_only_node_of_a_job_is_avoided_at_once(run):
    note(run, "700", "node_fail", ["nid1"])
    assert excluded(run, 1000) == ("nid1",)


def test_one_of_several_nodes_is_avoided_when_it_was_there_twice(run):
    note(run, "700", "peer_lost", ["nid1", "nid2"])
    assert excluded(run, 1000) == ()
    note(run, "701", "hang", ["nid2", "nid3"])
    assert excluded(run, 1000) == ("nid2",)


@pytest.mark.parametrize("outcome", ["timeout", "preempted", "diverged", "out_of_memory"])
def test_what_is_no_fault_of_a_node_is_not_held_against_it(run, outcome):
    note(run, "700", outcome, ["nid1"])
    assert excluded(run, 1000) == ()


def test_a_suspicion_expires(run, monkeypatch):
    note(run, "700", "node_fail", ["nid1"])
    (path,) = run.node_failures.glob("*.json")
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"time": told["time"] - EXPIRY_SECONDS}))
    assert excluded(run, 1000) == ()


def test_a_later_job_with_the_same_id_is_another(run):
    note(run, "700", "node_fail", ["nid1"])
    note(run, "700", "hang", ["nid2"])
    assert excluded(run, 1000) == ("nid1",), "a job is noted once"
    (path,) = run.node_failures.glob("*.json")
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"time": told["time"] - 2 * EXPIRY_SECONDS}))
    note(run, "700", "node_fail", ["nid3"])
    assert excluded(run, 1000) == ("nid3",)


@pytest.mark.parametrize(("count", "most"), [(None, 1), (8, 1), (100, 5)])
def test_a_small_machine_is_not_emptied(run, count, most):
    for number in range(9):
        note(run, str(700 + number), "node_fail", [f"nid{number}"])
    assert len(excluded(run, count)) == most


def test_the_next_link_runs_elsewhere(tmp_path):
    scheduler = FakeScheduler(state=State.NODE_FAIL, exit_code=None, node_names="nid1")
    scheduler.polls = 1
    manager = JobManager(tiny_plan(tmp_path, "testbed", project="m4722"), scheduler)
    manager.plan.site.__dict__["poll_seconds"] = 0
    chain = Chain(pretraining(manager.plan), manager)
    (chain.folder.checkpoints / "step-1").mkdir(parents=True)
    while len(scheduler.jobs) < 2:
        chain.advance()
    first, second = scheduler.scripts.values()
    assert "--exclude" not in first
    assert "#SBATCH --exclude=nid1\n" in second
    assert node_exclusion.excluded(manager.plan.run, None) == ("nid1",)
