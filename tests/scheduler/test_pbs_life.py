"""A job's life on PBS, through commands as strict as ALCF's; and its script, run by hand."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import fake_pbs
import pytest

from pipeline.job import Job, JobHandle, State
from pipeline.run import Run
from pipeline.scheduler import SchedulerError, connect, render
from pipeline.scheduler.pbs import PbsScheduler
from pipeline.site import load_site

MakeJob = Callable[..., Job]
POLARIS = load_site("polaris")


@pytest.fixture
def pbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    fake_pbs.install(folder)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


@pytest.fixture
def scheduler(pbs: Path, run: Run) -> PbsScheduler:
    found = connect(POLARIS, run)
    assert isinstance(found, PbsScheduler)
    return found


@pytest.fixture
def job(make_job: MakeJob) -> Job:
    return make_job(node="gpu", account="datascience", qos="preemptable", processes_per_node=2)


def test_from_submission_to_the_end(pbs: Path, scheduler: PbsScheduler, job: Job) -> None:
    assert scheduler.find(job.key, 0.0) is None
    first = scheduler.submit(job, render(job, POLARIS))
    assert scheduler.submit(job, "not looked at", tried_since=0.0) == first
    mine = JobHandle(first, job.key)
    assert scheduler.query([mine])[mine].state is State.PENDING
    stime = "Wed Nov 25 07:00:00 2026"
    fake_pbs.change(pbs, first, job_state="R", substate=42, stime=stime, exec_host="x1/0*64")
    assert scheduler.query([mine])[mine].state is State.RUNNING
    used = {"walltime": "00:01:30"}
    fake_pbs.change(pbs, first, job_state="F", substate=93, Exit_status=85, resources_used=used)
    status = scheduler.query([mine])[mine]
    assert (status.state, status.exit_code, status.seconds) == (State.FAILED, 85, 90)
    assert scheduler.submit(job, "not looked at", tried_since=0.0) == first


def test_a_link_waits_for_the_one_before_and_can_be_cancelled(
    pbs: Path, scheduler: PbsScheduler, job: Job
) -> None:
    first = scheduler.submit(job, render(job, POLARIS))
    after = job.model_copy(update={"key": "pretrain-m0.2", "after": first})
    second = scheduler.submit(after, render(after, POLARIS))
    assert fake_pbs.known(pbs)[second]["job_state"] == "H"
    mine = [JobHandle(first, job.key), JobHandle(second, after.key)]
    scheduler.cancel([mine[1], JobHandle("99.elsewhere", "pretrain-m0.3")])
    assert [each.state for each in scheduler.query(mine).values()] == [
        State.PENDING,
        State.CANCELLED,
    ]


def test_a_job_of_another_with_the_same_id_is_neither_counted_nor_cancelled(
    pbs: Path, scheduler: PbsScheduler, job: Job
) -> None:
    now = time.time()
    mine = JobHandle(scheduler.submit(job, render(job, POLARIS)), job.key, since=now)
    changes = {"Job_Name": "my-other-simulation", "job_state": "R"}
    fake_pbs.change(pbs, mine.id, **changes)
    status = scheduler.query([mine])[mine]
    assert (status.state, status.nodes, status.seconds) == (State.UNKNOWN, 0.0, 0)
    assert "only another job with the id 42.polaris-pbs-01 (my-other-sim" in status.reason
    scheduler.cancel([mine])
    assert fake_pbs.known(pbs)[mine.id]["job_state"] == "R"
    long_ago = time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(now - 30 * 86_400))
    fake_pbs.change(pbs, mine.id, Job_Name=job.key, ctime=long_ago)
    assert scheduler.query([mine])[mine].state is State.UNKNOWN, "it was there before ours"
    assert scheduler.find(job.key, now) is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("#PBS -A datascience\n", "", "qsub: Account_Name is required to be set."),
        ("#PBS -l filesystems=home:eagle\n", "", "qsub: Resource: filesystems is required"),
        ("#PBS -l select=1:system=polaris\n", "", "qsub: Resource: select is required"),
        ("select=1", "select=11", "qsub: Job rejected by all possible destinations"),
        ("-q preemptable", "-q fast", "qsub: Unknown queue"),
        ("-N pretrain", "-N pre/train", "qsub: illegal -N value"),
        ("-r n", "-R n", "qsub: invalid option -- 'R'"),
    ],
)
def test_what_pbs_refuses_comes_in_its_words(
    scheduler: PbsScheduler, job: Job, old: str, new: str, words: str
) -> None:
    text = render(job, POLARIS)
    assert old in text
    with pytest.raises(SchedulerError, match=words):
        scheduler.submit(job, text.replace(old, new))


MPIEXEC = """\
#!/bin/bash
[ "$1 $2 $3 $4 $5 $6" = "-n 2 --ppn 2 --depth=16 --cpu-bind=numa" ] || exit 64
shift 6
for rank in 0 1; do PMI_RANK=$rank PMI_LOCAL_RANK=$rank "$@" & ranks+=("$!"); done
for rank in "${ranks[@]}"; do wait "$rank" || code=$?; done
exit "${code:-0}"
"""


@pytest.fixture
def environment(pbs: Path, tmp_path: Path) -> dict[str, str]:
    """What PBS gives a job, on a node with an mpiexec."""
    (pbs / "mpiexec").write_text(MPIEXEC)
    (pbs / "mpiexec").chmod(0o755)
    nodes = tmp_path / "nodes"
    nodes.write_text("x3001c0s1b0n0\n")
    told = {"PBS_JOBID": "42.polaris-pbs-01", "PBS_NODEFILE": str(nodes), "HOME": str(tmp_path)}
    return {"PATH": os.environ["PATH"], **told}


def started(job: Job, environment: dict[str, str], **changes: str) -> "subprocess.Popen[bytes]":
    """Start the script of `job` as PBS would; `changes` are made in its text."""
    text = render(job, POLARIS)
    for old, new in changes.items():
        text = text.replace(old.replace("_", " "), new)
    job.script.parent.mkdir(parents=True)
    job.script.write_text(text.replace("#!/bin/bash -l", "#!/bin/bash"))
    job.script.chmod(0o755)
    return subprocess.Popen([job.script], env=environment)


def bash(make_job: MakeJob, program: str, afterwards: str = "") -> Job:
    """Return a job of two ranks that run `program`."""
    asked = {"node": "gpu", "processes_per_node": 2, "walltime_minutes": 60}
    told = ("touch", afterwards) if afterwards else ()
    return make_job("bash", "-c", program, afterwards=told, **asked)


def test_each_rank_knows_its_place_and_the_worst_end_is_the_job_s(
    make_job: MakeJob, environment: dict[str, str]
) -> None:
    place = "$LOCAL_RANK on $MASTER_ADDR:$MASTER_PORT $CUDA_VISIBLE_DEVICES"
    job = bash(make_job, f'echo "$RANK of $WORLD_SIZE, {place}"; exit $((85 * RANK))')
    assert started(job, environment).wait(20) == 85
    given, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    port = int(given) - 1 - 42
    assert sorted(job.log.read_text().splitlines()) == [
        f"0 of 2, 0 on x3001c0s1b0n0:{port} 3,2,1,0",
        f"1 of 2, 1 on x3001c0s1b0n0:{port} 3,2,1,0",
    ]


UNTIL_SAVE = 'until [ -e "$(dirname "$0")/SAVE" ]; do sleep 0.1; done; exit 85'


def test_a_walltime_that_comes_near_is_a_wish_to_save(
    make_job: MakeJob, environment: dict[str, str], run: Run
) -> None:
    job = bash(make_job, UNTIL_SAVE).model_copy(update={"folder": run.path / "m0" / "logs"})
    job = job.model_copy(update={"command": (*job.command, str(run.path / "m0" / "rank"))})
    assert started(job, environment, sleep_3240="sleep 1").wait(20) == 85


def test_a_job_that_is_ended_saves_and_leaves_the_judgement_to_others(
    make_job: MakeJob, environment: dict[str, str], run: Run, tmp_path: Path
) -> None:
    begun, judged = run.path / "m0" / "begun", tmp_path / "judged"
    job = bash(make_job, f'touch "$(dirname "$0")/begun"; {UNTIL_SAVE}', afterwards=str(judged))
    command = (*job.command, str(run.path / "m0" / "rank"))
    job = job.model_copy(update={"folder": run.path / "m0" / "logs", "command": command})
    script = started(job, environment)
    until = time.monotonic() + 20
    while not begun.exists() and time.monotonic() < until:
        time.sleep(0.1)
    script.send_signal(signal.SIGTERM)
    assert script.wait(20) == 85
    assert not judged.exists()


def test_no_alarm_is_left_behind(make_job: MakeJob, environment: dict[str, str]) -> None:
    job = bash(make_job, "true")
    assert started(job, environment, sleep_3240="sleep 3017").wait(20) == 0
    time.sleep(0.3)
    found = subprocess.run(["pgrep", "-f", "sleep 3017"], capture_output=True, check=False)
    assert found.returncode == 1
