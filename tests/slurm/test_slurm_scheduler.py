"""The Slurm scheduler and its batch scripts on a real Slurm."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.job import Job, JobHandle, JobStatus, State
from pipeline.run import Run
from pipeline.scheduler import SchedulerError, connect, render
from pipeline.site import load_site

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm")]

MakeJob = Callable[..., Job]
SITE = load_site("testbed")
SAVE_AND_CONTINUE = """
import os, signal, sys, time
def save(number, frame):
    print("rank", os.environ["RANK"], "saves", flush=True)
    time.sleep(1)
    sys.exit(85)
signal.signal(signal.SIGUSR1, save)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(120)
"""


@pytest.fixture
def make_job(tmp_path: Path) -> MakeJob:
    """Make a job of a key never seen before, on one node unless told otherwise."""

    def make(*command: str, **changes: object) -> Job:
        asked: dict[str, object] = {
            "key": f"test-{time.time_ns()}.1",
            "folder": tmp_path / "my logs",
            "command": command,
            "node": "gpu",
            "nodes": 1,
            "processes_per_node": 1,
            "walltime_minutes": 5,
            "account": "m4722",
            "qos": "regular",
        }
        return Job.model_validate(asked | changes)

    return make


@pytest.fixture
def scheduler(tmp_path: Path):
    return connect(SITE, Run(tmp_path, "unused"))


def submit(scheduler, job: Job, text: str = "") -> JobHandle:
    began = time.time()
    return JobHandle(scheduler.submit(job, text or render(job, SITE)), job.key, began)


def wait(scheduler, job: JobHandle, *, until: State | None = None) -> JobStatus:
    for _ in range(450):
        status = scheduler.query([job])[job]
        if status.state is until or status.state.is_over:
            return status
        time.sleep(0.2)
    raise AssertionError(status)


def wait_for(text: str, path: Path, *, times: int = 1) -> None:
    for _ in range(300):
        if path.exists() and path.read_text().count(text) >= times:
            return
        time.sleep(0.1)
    raise AssertionError(path.read_text() if path.exists() else path)


def test_ranks_on_two_nodes_find_each_other(scheduler, make_job: MakeJob) -> None:
    program = """
import os, socket, time
names = "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "SLURMD_NODENAME"
me = " ".join(os.environ[name] for name in names)
address = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
if os.environ["RANK"] == "0":
    server = socket.create_server(address)
    print(me, server.accept()[0].recv(200).decode())
else:
    for _ in range(60):
        try:
            socket.create_connection(address, 10).sendall(me.encode())
            break
        except ConnectionRefusedError:
            time.sleep(1)
"""
    job = make_job("python3", "-c", program, nodes=2)
    mine = submit(scheduler, job)
    status = wait(scheduler, mine)
    assert status.state is State.COMPLETED, job.log.read_text()
    words = job.log.read_text().split()
    host, port = words[5], words[4]
    ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert 1024 < int(port) < ephemeral
    assert words[:6] == ["0", "0", "2", host, port, host]
    assert words[6:11] == ["1", "0", "2", host, port]
    assert words[11] != host


def test_a_known_key_is_not_submitted_again(scheduler, make_job: MakeJob) -> None:
    job = make_job("true")
    began = time.time()
    assert scheduler.find(job.key, began) is None
    text = render(job, SITE)
    mine = submit(scheduler, job, text)
    assert scheduler.submit(job, text, tried_since=began) == mine.id
    status = wait(scheduler, mine)
    assert (status.state, status.exit_code, status.key) == (State.COMPLETED, 0, job.key)
    again = scheduler.submit(job, text, tried_since=began)
    assert again == scheduler.find(job.key, began) == mine.id


def test_asked_to_save_a_job_ends_with_85(scheduler, make_job: MakeJob) -> None:
    job = make_job("python3", "-c", SAVE_AND_CONTINUE, nodes=2)
    mine = submit(scheduler, job)
    wait_for("ready", job.log, times=2)
    # what Slurm itself does at --signal=B:USR1@…, without the wait for the walltime
    subprocess.run(["scancel", "--batch", "--signal=USR1", mine.id], check=True)
    status = wait(scheduler, mine)
    assert (status.state, status.exit_code, status.nodes) == (State.FAILED, 85, 2.0)
    assert job.log.read_text().count("saves") == 2


@pytest.mark.slow
def test_slurm_asks_for_it_before_the_walltime(scheduler, make_job: MakeJob) -> None:
    job = make_job("python3", "-c", SAVE_AND_CONTINUE, nodes=2, walltime_minutes=1)
    assert wait(scheduler, submit(scheduler, job)).exit_code == 85
    assert job.log.read_text().count("saves") == 2


def test_a_terminated_batch_script_still_lets_the_ranks_save(scheduler, make_job: MakeJob) -> None:
    job = make_job("python3", "-c", SAVE_AND_CONTINUE)
    mine = submit(scheduler, job)
    wait_for("ready", job.log)
    subprocess.run(["scancel", "--batch", "--signal=TERM", mine.id], check=True)
    assert wait(scheduler, mine).exit_code == 85


def test_cancel(scheduler, make_job: MakeJob) -> None:
    job = make_job("sleep", "120")
    mine = submit(scheduler, job)
    assert wait(scheduler, mine, until=State.RUNNING).state is State.RUNNING
    other = JobHandle(mine.id, "another-job", mine.since)
    assert scheduler.query([other])[other].state is State.UNKNOWN
    scheduler.cancel([other])
    assert scheduler.query([mine])[mine].state is State.RUNNING
    scheduler.cancel([mine])
    status = wait(scheduler, mine)
    assert (status.state, status.exit_code) == (State.CANCELLED, None)
    scheduler.cancel([mine])  # over: nothing happens


def test_a_suspended_job_is_known_and_its_pause_is_counted(scheduler, make_job: MakeJob) -> None:
    mine = submit(scheduler, make_job("sleep", "120"))
    wait(scheduler, mine, until=State.RUNNING)
    subprocess.run(["scontrol", "suspend", mine.id], check=True)
    status = wait(scheduler, mine, until=State.SUSPENDED)
    assert (status.state, status.reason) == (State.SUSPENDED, "SUSPENDED")
    time.sleep(2)
    subprocess.run(["scontrol", "resume", mine.id], check=True)
    for _ in range(50):  # accounting hears of it later than the queue
        status = wait(scheduler, mine, until=State.RUNNING)
        if status.suspended_seconds:
            break
        time.sleep(0.2)
    assert 1 <= status.suspended_seconds <= 10
    scheduler.cancel([mine])
    assert wait(scheduler, mine).state is State.CANCELLED


def test_a_held_job_is_told_with_what_to_type_and_then_runs(scheduler, make_job: MakeJob) -> None:
    job = make_job("true")
    text = render(job, SITE).replace("#SBATCH --no-requeue", "#SBATCH --no-requeue\n#SBATCH --hold")
    mine = submit(scheduler, job, text)
    status = scheduler.query([mine])[mine]
    assert (status.state, status.reason) == (State.PENDING, "JobHeldUser")
    _, _, typed = status.advice.partition("scontrol ")
    subprocess.run(["scontrol", *typed.split()], check=True)
    assert wait(scheduler, mine).state is State.COMPLETED


def test_seconds_are_those_of_the_accounting(scheduler, make_job: MakeJob) -> None:
    job = make_job("sleep", "2", nodes=2)
    status = wait(scheduler, submit(scheduler, job))
    command = ["sacct", "-X", "-n", "-P", "-o", "ElapsedRaw,NNodes", "-j", status.id]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert answer.strip() == f"{status.seconds}|{status.nodes:.0f}"
    assert status.seconds >= 2
    assert status.start is not None
    assert status.end == status.start + status.seconds


def test_an_account_that_may_not_pay_is_refused(scheduler, make_job: MakeJob) -> None:
    job = make_job("true", account="m9999")
    with pytest.raises(SchedulerError, match=r"Invalid account or account/partition combination"):
        scheduler.submit(job, render(job, SITE))
    assert scheduler.find(job.key, time.time()) is None


def test_a_forgotten_account_is_refused_in_the_site_s_words(scheduler, make_job: MakeJob) -> None:
    job = make_job("true", account="")
    with pytest.raises(SchedulerError, match=r"no account given: use -A <project>"):
        scheduler.submit(job, render(job, SITE))


def test_a_pilot_runs_once_per_node(scheduler, make_job: MakeJob) -> None:
    job = make_job("sh", "-c", "echo nodename $(hostname)", nodes=2, pilot=True)
    scheduler.submit(job, render(job, SITE))
    wait_for("nodename", job.log, times=2)
    assert len(set(job.log.read_text().splitlines())) == 2


def test_one_rank_that_hangs_does_not_keep_the_nodes(scheduler, make_job: MakeJob) -> None:
    job = make_job("sh", "-c", "[ $RANK = 0 ] && exec sleep 120; exit 3", nodes=2)
    text = render(job, SITE).replace("--wait=120", "--wait=2")
    status = wait(scheduler, submit(scheduler, job, text))
    assert status.state is State.FAILED
    assert status.seconds < 60


@pytest.mark.parametrize(
    ("name", "node", "nodes"), [("perlmutter", "gpu80", 2), ("frontier", "gcd", 1)]
)
def test_scripts_of_the_great_machines_are_accepted_and_run(
    scheduler, make_job: MakeJob, name: str, node: str, nodes: int
) -> None:
    site = load_site(name)
    plain = site.model_copy(update={"modules": ()})  # there is no Lmod on the test bed
    job = make_job(
        "sh",
        "-c",
        "echo $RANK of $WORLD_SIZE on ${CUDA_VISIBLE_DEVICES:-$ROCR_VISIBLE_DEVICES}",
        node=node,
        nodes=nodes,
        processes_per_node=site.nodes[node].devices,
        account=site.account("m4722" if name == "perlmutter" else "nph000", node),
        qos=site.training.qos,
    )
    status = wait(scheduler, submit(scheduler, job, render(job, plain)))
    assert status.state is State.COMPLETED, job.log.read_text()
    ranks = sorted(int(line.split()[0]) for line in job.log.read_text().splitlines())
    assert ranks == list(range(8))
