"""The simulated machine: what a site grants, refuses and does to jobs."""

import random
from pathlib import Path
from statistics import fmean

import pytest
import simpy

from pipeline.job import Job, JobHandle, State
from pipeline.rehearsal.machine import EPOCH, HOUR, Machine, VirtualClock
from pipeline.scheduler import NotNowError, SchedulerError
from pipeline.site import Site

CALM = {
    "name": "calm",
    "title": "Calm",
    "as_of": "2026-11-25",
    "scheduler": "slurm",
    "accelerator": "cuda",
    "nodes": {"gpu": {"devices": 4, "cpus_per_device": 8}},
    "training": {"node": "gpu", "qos": "regular"},
    "pilot": {"role": {"node": "gpu"}, "workers_per_node": 1, "walltime_minutes": 10},
    "submitted_jobs": 5000,
    "qos": {"regular": {"max_minutes": 600}, "preempt": {"max_minutes": 600}},
}


def machine(**changes):
    made = Machine(simpy.Environment(), Site.model_validate(CALM | changes), random.Random(3))
    made.program = lambda *_: works(made.env, 1800)
    return made


def works(env, seconds, code=0):
    try:
        yield env.timeout(seconds)
    except simpy.Interrupt:
        return None
    return code


def job(key="a", nodes=2, minutes=60, qos="regular", after=""):
    return Job(
        key=key,
        command=["true"],
        folder=Path("/nowhere"),
        node="gpu",
        nodes=nodes,
        processes_per_node=4,
        walltime_minutes=minutes,
        qos=qos,
        after=after,
    )


def told(machine, *jobs):
    """Submit jobs, let all time pass, and return what is said of each."""
    handles = [submitted(machine, each) for each in jobs]
    machine.env.run()
    found = machine.query(handles)
    return [found[each] for each in handles]


def submitted(machine, job):
    """Submit a job; return its handle."""
    return JobHandle(machine.submit(job, ""), job.key)


def test_a_job_ends_as_its_program_does():
    made = machine()
    (done,) = told(made, job())
    assert (done.state, done.exit_code, done.seconds, done.nodes) == (State.COMPLETED, 0, 1800, 2)
    assert (done.start, done.end) == (EPOCH, EPOCH + 1800)
    made.program = lambda *_: works(made.env, 60, code=3)
    (failed,) = told(made, job("b"))
    assert (failed.state, failed.exit_code) == (State.FAILED, 3)


def test_a_job_ends_at_its_walltime():
    (done,) = told(machine(), job(minutes=10))
    assert (done.state, done.exit_code, done.seconds) == (State.TIMEOUT, None, 600)


def test_the_next_link_waits_for_the_end_of_the_last():
    made = machine()
    first = made.submit(job("a"), "")
    (second,) = told(made, job("b", after=first))
    assert second.start == EPOCH + 1800


def test_the_same_key_is_the_same_job():
    made = machine()
    assert made.submit(job(), "") == made.submit(job(), "") == made.find("a", 0.0)
    assert made.find("b", 0.0) is None


def test_only_so_many_wait_and_only_so_many_run():
    qos = {"regular": {"max_minutes": 600, "submitted_jobs": 3, "running_jobs": 2}}
    made = machine(qos=qos)
    jobs = [submitted(made, job(key)) for key in "abc"]
    with pytest.raises(NotNowError, match="QOSMaxSubmitJobPerUserLimit"):
        made.submit(job("d"), "")
    made.env.run(10)
    states = [each.state for each in made.query(jobs).values()]
    assert states == [State.RUNNING, State.RUNNING, State.PENDING]
    made.env.run()
    assert made.query(jobs)[jobs[2]].start == EPOCH + 1800
    assert not made.is_busy


def test_a_walltime_that_the_site_does_not_grant_is_refused():
    with pytest.raises(SchedulerError, match="Requested time limit is invalid"):
        machine().submit(job(minutes=601), "")


def test_waits_have_the_site_s_mean():
    waits = [{"from_nodes": 1, "mean_hours": 4.0}, {"from_nodes": 8, "mean_hours": 0.0}]
    made = machine(waits=waits)
    found = told(made, *[job(str(each)) for each in range(2000)])
    assert fmean((each.start - EPOCH) / HOUR for each in found) == pytest.approx(4.0, rel=0.1)
    assert made.waited_hours() == pytest.approx(8000, rel=0.1)
    (large,) = told(made, job("large", nodes=8))
    assert made.jobs[large.id].start == made.jobs[large.id].submitted


def test_nodes_fail_as_often_as_the_site_says():
    made = machine(node_failures=20.0)
    made.program = lambda *_: works(made.env, 600 * 60)
    found = told(made, *[job(str(each), nodes=100, minutes=600) for each in range(500)])
    failed = [each for each in found if each.state is State.NODE_FAIL]
    days = sum(each.seconds for each in found) / 86400
    assert len(failed) / days == pytest.approx(20.0 * 100 / 1000, rel=0.15)


def test_the_preempted_ran_their_protected_minutes():
    queue = {"max_minutes": 600, "hours_to_preemption": 1.0, "protected_minutes": 120}
    made = machine(qos={"regular": {"max_minutes": 600}, "preempt": queue})
    made.program = lambda *_: works(made.env, 590 * 60)
    found = told(made, *[job(str(each), minutes=600, qos="preempt") for each in range(50)])
    pushed_out = [each for each in found if each.state is State.PREEMPTED]
    assert len(pushed_out) > 40
    assert min(each.seconds for each in pushed_out) >= 7200


def test_no_job_runs_during_a_maintenance():
    made = machine(maintenance={"interval_days": 1, "hours": 6})
    made.env.run(23 * HOUR)
    (late, short) = told(made, job("late", minutes=120), job("short", minutes=45))
    assert late.start == EPOCH + 30 * HOUR
    assert short.start == EPOCH + 23 * HOUR


def test_a_cancelled_job_is_over_whether_it_waits_or_runs():
    qos = {"regular": {"max_minutes": 600, "running_jobs": 1}}
    made = machine(qos=qos)
    jobs = [submitted(made, job(key)) for key in "ab"]
    made.env.run(60)
    made.cancel(jobs)
    made.env.run()
    runs, waits = made.query(jobs).values()
    assert (runs.state, runs.seconds) == (State.CANCELLED, 60)
    assert (waits.state, waits.seconds, waits.start) == (State.CANCELLED, 0, None)
    made.cancel(jobs)  # nothing is said of what is over


def test_a_machine_without_a_program_says_so():
    made = machine()
    made.program = None
    made.submit(job(), "")
    with pytest.raises(RuntimeError, match="a: the machine was given no program to run"):
        made.env.run()


def test_nobody_sleeps_by_the_virtual_clock():
    clock = VirtualClock(simpy.Environment())
    assert clock.time() == EPOCH
    with pytest.raises(RuntimeError, match="no code may sleep in a rehearsal"):
        clock.sleep(1)
