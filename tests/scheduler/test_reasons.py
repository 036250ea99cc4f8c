"""Why a job does not run, as Slurm and PBS say it, and what the user is told to do."""

import json
from pathlib import Path

import pytest

from pipeline.job import JobHandle, JobStatus, State
from pipeline.scheduler.accounting import from_accounting, from_queue
from pipeline.scheduler.pbs_history import from_history
from pipeline.scheduler.rows import combined, matched

REAL = Path(__file__).with_name("slurm_22_05")


def real() -> dict[str, JobStatus]:
    """What is known by name of the jobs of a real Slurm, some held, suspended or put back."""
    kept = list(from_accounting((REAL / "sacct_suspended_and_held.txt").read_text().splitlines()))
    queue = list(from_queue((REAL / "squeue_reasons.txt").read_text().splitlines()))
    jobs = [JobHandle(row.status.id, row.status.key) for row in queue]
    by_sacct, by_squeue = matched(jobs, kept), matched(jobs, queue)
    return {job.key: combined(by_sacct[job], by_squeue[job]) for job in jobs}


def test_the_jobs_of_a_real_slurm_are_known_with_their_reasons() -> None:
    facts = {key: (each.state.value, each.reason, each.is_stuck) for key, each in real().items()}
    assert facts == {
        "ours.run": ("running", "", False),
        "ours.susp": ("suspended", "SUSPENDED", False),
        "ours.dep": ("pending", "Dependency", False),
        "ours.never": ("pending", "Dependency", False),
        "ours.big": ("pending", "Resources", False),
        "ours.begin": ("pending", "JobHeldAdmin", True),
        "ours.held": ("pending", "JobHeldUser", True),
        "ours.array": ("pending", "JobHeldUser", True),
        "ours.requeued": ("pending", "job requeued in held state", True),
        "ours.special": ("pending", "SPECIAL_EXIT", True),
    }


def test_what_is_suspended_and_goes_on_keeps_its_pause() -> None:
    assert real()["ours.susp"].suspended_seconds == 3
    (row,) = from_accounting((REAL / "sacct_resumed.txt").read_text().splitlines())
    status = row.status
    assert (status.state, status.suspended_seconds, status.seconds) == (State.RUNNING, 8, 2)
    assert (status.reason, status.advice) == ("", "")


def test_what_is_held_is_told_with_what_to_type() -> None:
    found = real()
    for key in ("ours.held", "ours.requeued", "ours.special"):
        assert f"scontrol release {found[key].id}" in found[key].advice, key


@pytest.mark.parametrize(
    ("reason", "is_stuck", "told"),
    [
        ("Priority", False, "other jobs are ahead of it"),
        ("Resources", False, "its nodes are not free yet"),
        ("QOSMaxJobsPerUserLimit", False, "you run as many jobs or nodes as you may"),
        ("AssocMaxJobsLimit", False, "you run as many jobs or nodes as you may"),
        ("AssocGrpNodeLimit", False, "reach a limit together"),
        ("QOSGrpNodeLimit", False, "reach a limit together"),
        ("AssocGrpCPURunMinutesLimit", False, "reach a limit together"),
        ("AssocGrpCPUMinutesLimit", True, "The project's hours are used up"),
        ("AssocGrpBillingMinutes", True, "The project's hours are used up"),
        ("QOSGrpBillingMinutes", True, "The project's hours are used up"),
        ("ReqNodeNotAvail, Reserved for maintenance", False, "would run into a maintenance"),
        ("ReqNodeNotAvail, UnavailableNodes:nid[1-4]", False, "sinfo -R"),
        ("ReqNodeNotAvail", False, "sinfo -R"),
        ("Dependency", False, "starts when the link before it has ended"),
        ("DependencyNeverSatisfied", True, "Cancel it (scancel 7)"),
        ("BeginTime", False, "a little later"),
        ("JobHeldUser", True, "scontrol release 7"),
        ("JobHeldAdmin", True, "ask the site's support"),
        ("launch failed requeued held", True, "scontrol release 7"),
        ("launch_failed_requeued_held", True, "scontrol show job 7"),
        ("job requeued in held state", True, "scontrol release 7"),
        ("JobHoldMaxRequeue", True, "scontrol release 7"),
        ("ReservationDeleted", True, "scontrol release 7"),
        ("PartitionTimeLimit", True, "choose another --qos"),
        ("QOSMaxNodePerJobLimit", True, "choose another --qos"),
        ("QOSMaxWallDurationPerJobLimit", True, "choose another --qos"),
        ("AssocMaxNodeMinutesPerJob", True, "choose another --qos"),
        ("BadConstraints", True, "choose another --qos"),
        ("InvalidAccount", True, "another --project"),
        ("InvalidQOS", True, "another --qos"),
        ("Licenses", False, "scontrol show licenses"),
        ("PartitionDown", False, "The queue is closed"),
    ],
)
def test_common_reasons_of_slurm_come_with_advice(reason: str, is_stuck: bool, told: str) -> None:
    (row,) = from_queue([f"7|PENDING|1|900|N/A|{reason}|a"])
    assert row.status.reason == reason.replace("_", " ")
    assert told in row.status.advice
    assert row.status.is_stuck is is_stuck


@pytest.mark.parametrize("word", ["REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"])
@pytest.mark.parametrize("reason", ["None", "job requeued in held state"])
def test_held_states_wait_and_are_told(word: str, reason: str) -> None:
    (row,) = from_queue([f"7|{word}|1|900|N/A|{reason}|a"])
    status = row.status
    assert (status.state, status.reason, status.is_stuck) == (State.PENDING, word, True)
    assert "scontrol release 7" in status.advice


@pytest.mark.parametrize("word", ["SUSPENDED", "STOPPED"])
def test_suspended_is_no_run(word: str) -> None:
    (row,) = from_queue([f"7|{word}|1|900|1000|None|a"])
    assert (row.status.state, row.status.reason) == (State.SUSPENDED, word)
    assert not row.status.state.is_over
    assert "scontrol resume 7" in row.status.advice


def test_a_reason_that_nobody_knows_is_told_as_it_is() -> None:
    (row,) = from_queue(["7|PENDING|1|900|N/A|NewInSlurm99|a"])
    assert (row.status.reason, row.status.advice) == ("NewInSlurm99", "")
    (row,) = from_queue(["7|PENDING|1|900|N/A|None|a"])
    assert row.status.reason == "", "Slurm has not looked at it yet"


def pbs(**job: object) -> JobStatus:
    told = {"Job_Name": "a", "job_state": "Q", **job}
    (row,) = from_history(json.dumps({"Jobs": {"7.pbs": told}}))
    return row.status


@pytest.mark.parametrize(
    ("job", "is_stuck", "reason", "told"),
    [
        (
            {"comment": "Not Running: Not enough free nodes available"},
            False,
            "Not Running: Not enough free nodes available",
            "nodes are not free yet",
        ),
        (
            {"comment": "Not Running: User has reached queue prod running job limit."},
            False,
            "Not Running: User has reached queue prod running job limit.",
            "as many jobs or nodes as they may",
        ),
        (
            {"comment": "Not Running: Job would cross dedicated time boundary"},
            False,
            "Not Running: Job would cross dedicated time boundary",
            "would run into a maintenance",
        ),
        (
            {"comment": "Can Never Run: Insufficient amount of resource: ngpus (R: 9 A: 4)"},
            True,
            "Can Never Run: Insufficient amount of resource: ngpus (R: 9 A: 4)",
            "choose another --qos",
        ),
        (
            {"job_state": "H", "Hold_Types": "u", "comment": "Job held by alice on Mon Nov 30"},
            True,
            "held by the user: Job held by alice on Mon Nov 30",
            "qrls 7.pbs",
        ),
        (
            {"job_state": "H", "Hold_Types": "o"},
            True,
            "held by an operator",
            "ask the site's support",
        ),
        (
            {
                "job_state": "H",
                "Hold_Types": "s",
                "comment": "job held, too many failed attempts to run",
            },
            True,
            "held by the system: job held, too many failed attempts to run",
            "qdel 7.pbs",
        ),
        (
            {"job_state": "H", "Hold_Types": "s", "substate": 22},
            False,
            "depends on the end of another job",
            "the link before it has ended",
        ),
        ({"job_state": "W"}, False, "waits for its time", "PBS lets it start later"),
        ({}, False, "", ""),
    ],
)
def test_why_a_job_waits_on_pbs(
    job: dict[str, object], is_stuck: bool, reason: str, told: str
) -> None:
    status = pbs(**job)
    assert (status.state, status.reason) == (State.PENDING, reason)
    assert told in status.advice
    assert status.is_stuck is is_stuck


def test_what_pbs_suspends_is_no_run() -> None:
    status = pbs(job_state="S", comment="Job run at Wed Nov 25 at 07:00")
    assert (status.state, status.reason) == (State.SUSPENDED, "suspended")
    ended = pbs(
        job_state="F",
        Exit_status=0,
        stime="Wed Nov 25 07:00:00 2026",
        obittime="Wed Nov 25 09:00:00 2026",
        resources_used={"walltime": "01:30:00"},
    )
    assert (ended.seconds, ended.suspended_seconds, ended.reason) == (5400, 1800, "")
