"""PBS against small programs that answer as it does; qstat's JSON has the shape of 2022.1."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.job import Job, JobHandle, State
from pipeline.run import Run
from pipeline.scheduler import NotNowError, SchedulerError, connect, render
from pipeline.scheduler.pbs import PbsScheduler
from pipeline.scheduler.pbs_history import from_history
from pipeline.site import load_site

MakeJob = Callable[..., Job]
SERVER = "polaris-pbs-01"
SCHEDULER = PbsScheduler(timeout_seconds=10.0)
# A job of two nodes that has ended, without what nobody reads.
ENDED: dict[str, Any] = {
    "Job_Name": "quickstart.pretrain.m0.1-ab",
    "Job_Owner": "alice@polaris-login-01",
    "resources_used": {"cpupercent": 99, "ncpus": 128, "walltime": "01:00:05"},
    "job_state": "F",
    "queue": "small",
    "exec_host": "x3001c0s1b0n0/0*64+x3001c0s7b1n0/0*64",
    "Resource_List": {"nodect": 2, "walltime": "02:00:00", "filesystems": "home:eagle"},
    "stime": "Wed Nov 25 07:00:00 2026",
    "obittime": "Wed Nov 25 08:00:07 2026",
    "run_count": 1,
    "substate": 92,
    "comment": "Job run at Wed Nov 25 at 07:00 on (x3001c0s1b0n0:ncpus=64)+(x3001c0s7b1n0)",
    "Exit_status": 0,
}


MINE, OTHER = (JobHandle(f"{n}.{SERVER}", ENDED["Job_Name"]) for n in (42, 43))


def history(**changes: object) -> str:
    job = {key: value for key, value in (ENDED | changes).items() if value is not None}
    told = {"timestamp": 1795590000, "pbs_version": "2022.1.1", "pbs_server": SERVER}
    return json.dumps(told | {"Jobs": {f"42.{SERVER}": job}})


@pytest.fixture
def pbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands on PATH; qsub refuses what PBS at ALCF refuses."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    answer(folder, "qselect", "")
    needs = " ".join(f"grep -q '^#PBS {each}' \"$1\" || refuse '{each}';" for each in (
        "-A ", "-q ", "-l select=", "-l walltime=", "-l filesystems=",
    ))  # fmt: skip
    refuse = 'refuse() { echo "qsub: $1 is mandatory" >&2; exit 1; }'
    answer(folder, "qsub", f"{refuse}; {needs} echo 42.{SERVER}")
    return folder


def answer(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f'#!/bin/bash\necho "{name} $*" >> "{folder}/calls"\n{body}\n')
    path.chmod(0o755)


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


@pytest.fixture
def job(make_job: MakeJob) -> Job:
    return make_job(node="gpu", account="datascience", qos="preemptable", processes_per_node=4)


def test_what_is_rendered_is_taken(pbs: Path, job: Job, run: Run) -> None:
    site = load_site("polaris")
    scheduler = connect(site, run)
    assert scheduler.submit(job, render(job, site)) == f"42.{SERVER}"
    assert calls(pbs) == [f"qsub {job.script}"]


def test_what_pbs_refuses_comes_in_its_own_words(pbs: Path, job: Job) -> None:
    site = load_site("polaris")
    bare = site.nodes["gpu"].model_copy(update={"directives": ()})
    text = render(job, site.model_copy(update={"nodes": {"gpu": bare}}))
    with pytest.raises(SchedulerError, match="qsub: -l filesystems= is mandatory"):
        SCHEDULER.submit(job, text)


def test_a_known_key_is_not_submitted_again(pbs: Path, job: Job) -> None:
    answer(pbs, "qselect", f"echo {MINE.id}")
    answer(pbs, "qstat", f"cat <<'END'\n{history(Job_Name=job.key)}\nEND")
    assert SCHEDULER.submit(job, "", tried_since=0.0) == MINE.id
    assert calls(pbs)[0] == f"qselect -x -N {job.key}"
    assert not any(each.startswith("qsub") for each in calls(pbs))


def test_a_lost_reply_is_no_second_job(pbs: Path, job: Job) -> None:
    answer(pbs, "qsub", f"touch {pbs}/taken")
    answer(pbs, "qselect", f"[ ! -e {pbs}/taken ] || echo {MINE.id}")
    answer(pbs, "qstat", f"cat <<'END'\n{history(Job_Name=job.key)}\nEND")
    assert SCHEDULER.submit(job, "") == MINE.id


@pytest.mark.parametrize(
    "words",
    [
        "qsub: would exceed queue generic's per-user limit of jobs in 'Q' state",
        "qsub: Maximum number of jobs for user alice already in queue debug-scaling",
        "qsub: Maximum number of jobs already in complex",
        "qsub: cannot connect to server polaris-pbs-01 (errno=15010)",
    ],
)
def test_a_full_queue_is_not_for_ever(pbs: Path, job: Job, words: str) -> None:
    answer(pbs, "qsub", f'echo "{words}" >&2; exit 1')
    with pytest.raises(NotNowError, match="qsub failed with exit code 1"):
        SCHEDULER.submit(job, "")


def test_all_jobs_are_asked_for_in_one_call(pbs: Path) -> None:
    answer(pbs, "qstat", f"cat <<'END'\n{history()}\nEND")
    found = SCHEDULER.query([MINE, OTHER])
    assert calls(pbs) == [f"qstat -x -f -F json 42.{SERVER} 43.{SERVER}"]
    assert found[OTHER].state is State.UNKNOWN
    status = found[MINE]
    assert (status.state, status.exit_code, status.key) == (State.COMPLETED, 0, ENDED["Job_Name"])
    assert (status.nodes, status.seconds) == (2.0, 3605)
    assert status.end is not None
    assert status.start is not None
    assert status.end - status.start == 3607
    assert SCHEDULER.hosts(status.node_names) == ["x3001c0s1b0n0", "x3001c0s7b1n0"]


@pytest.mark.parametrize(
    ("letter", "code", "state", "exit_code"),
    [
        ("Q", None, State.PENDING, None),
        ("H", None, State.PENDING, None),
        ("W", None, State.PENDING, None),
        ("T", None, State.PENDING, None),
        ("R", None, State.RUNNING, None),
        ("S", None, State.SUSPENDED, None),
        ("U", None, State.SUSPENDED, None),
        ("E", 0, State.RUNNING, None),
        ("F", 0, State.COMPLETED, 0),
        ("F", 85, State.FAILED, 85),
        ("F", 137, State.FAILED, 137),
        ("F", 256 + 11, State.FAILED, 139),
        ("F", 271, State.FAILED, 143),
        ("F", 265, State.FAILED, 137),
        ("F", -29, State.TIMEOUT, None),
        ("F", -27, State.OUT_OF_MEMORY, None),
        ("F", -3, State.NODE_FAIL, None),
        ("F", -1, State.FAILED, None),
        ("F", None, State.CANCELLED, None),
        ("?", None, State.UNKNOWN, None),
    ],
)
def test_states(letter: str, code: int | None, state: State, exit_code: int | None) -> None:
    (row,) = from_history(history(job_state=letter, Exit_status=code))
    assert (row.status.state, row.status.exit_code) == (state, exit_code)


@pytest.mark.parametrize(
    ("comment", "state"),
    [
        ("Job run at … and terminated by alice@polaris-login-01", State.CANCELLED),
        ("Job run at … and terminated by Scheduler@polaris-pbs-01", State.PREEMPTED),
        ("Job run at … and terminated", State.CANCELLED),
        (None, State.CANCELLED),
    ],
)
@pytest.mark.parametrize("code", [271, 265, 85, None])
def test_who_deleted_a_job_tells_a_cancellation_from_a_preemption(
    comment: str | None, state: State, code: int | None
) -> None:
    (row,) = from_history(history(substate=91, Exit_status=code, comment=comment))
    assert (row.status.state, row.status.exit_code) == (state, None)


def test_a_job_that_was_killed_after_its_walltime_had_its_time() -> None:
    (row,) = from_history(history(Exit_status=271, resources_used={"walltime": "02:00:07"}))
    assert row.status.state is State.TIMEOUT


def test_a_job_that_pbs_has_forgotten_hides_no_other(pbs: Path) -> None:
    words = f'echo "qstat: Unknown Job Id 43.{SERVER}" >&2; exit 153'
    answer(pbs, "qstat", f"cat <<'END'\n{history()}\nEND\n{words}")
    found = SCHEDULER.query([MINE, OTHER])
    assert [each.state for each in found.values()] == [State.COMPLETED, State.UNKNOWN]


def test_an_answer_with_other_complaints_is_none(pbs: Path) -> None:
    words = 'echo "qstat: Unknown Job Id 43" >&2; echo "qstat: End of File" >&2; exit 1'
    answer(pbs, "qstat", f"cat <<'END'\n{history()}\nEND\n{words}")
    with pytest.raises(NotNowError, match="End of File"):
        SCHEDULER.query([MINE])


def test_a_job_that_ends_before_it_is_cancelled_is_no_error(pbs: Path) -> None:
    answer(pbs, "qstat", f"cat <<'END'\n{history(job_state='R', Exit_status=None)}\nEND")
    answer(pbs, "qdel", f'echo "qdel: Job has finished 42.{SERVER}" >&2; exit 139')
    SCHEDULER.cancel([MINE])


def test_without_jobs_there_are_none() -> None:
    assert from_history('{"timestamp": 1, "pbs_version": "2022.1.1"}') == []


@pytest.mark.parametrize("text", ["", "qstat: broken", '{"Jobs": {"1.x": {}}}', "[]"])
def test_what_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(SchedulerError, match="qstat printed what cannot be read"):
        from_history(text)


def test_what_is_over_is_not_cancelled(pbs: Path) -> None:
    answer(pbs, "qdel", "")
    answer(pbs, "qstat", f"cat <<'END'\n{history()}\nEND")
    SCHEDULER.cancel([MINE])
    assert not any(each.startswith("qdel") for each in calls(pbs))
    answer(pbs, "qstat", f"cat <<'END'\n{history(job_state='R', Exit_status=None)}\nEND")
    SCHEDULER.cancel([MINE])
    assert calls(pbs)[-1] == f"qdel 42.{SERVER}"
