import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.claims import Holder, process_started
from pipeline.job import Job, JobHandle, JobStatus, State
from pipeline.run import Run
from pipeline.scheduler import Scheduler, SchedulerError, connect, record, render, runner
from pipeline.scheduler.record import Record
from pipeline.site import load_site

MakeJob = Callable[..., Job]
SITE = load_site("local")
SAVE_AND_CONTINUE = """
import os, signal, sys, time
def save(number, frame):
    print("saving on", signal.Signals(number).name, flush=True)
    sys.exit(85)
signal.signal(signal.SIGUSR1, save)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def scheduler(run: Run) -> Iterator[Scheduler]:
    """Jobs without a scheduler; what is left at the end of a test is ended."""
    local = connect(SITE, run)
    yield local
    for path in (run.path / "local" / "jobs").glob("*.json"):
        try:
            local.cancel([of(path.stem)])
        except SchedulerError:
            continue  # the test damaged it


def of(id_: str) -> JobHandle:
    """The job with that id, which is its key."""
    return JobHandle(id_, id_)


def submit(scheduler: Scheduler, job: Job) -> str:
    return scheduler.submit(job, render(job, SITE))


def wait(scheduler: Scheduler, id_: str, *, until: State | None = None) -> JobStatus:
    """Return the status of a job when it is `until`, or over."""
    for _ in range(400):
        status = scheduler.query([of(id_)])[of(id_)]
        if status.state is until or status.state.is_over:
            return status
        time.sleep(0.05)
    raise AssertionError(status)


def wait_for(text: str, path: Path) -> None:
    for _ in range(400):
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(path.read_text())


def read(run: Run, id_: str) -> tuple[Path, Record]:
    path = run.path / "local" / "jobs" / f"{id_}.json"
    found = record.read(path)
    assert found is not None
    return path, found


def test_a_job_runs_to_its_end(scheduler: Scheduler, make_job: MakeJob) -> None:
    job = make_job("echo", "all is well")
    status = wait(scheduler, submit(scheduler, job))
    assert (status.state, status.exit_code, status.key) == (State.COMPLETED, 0, job.key)
    assert status.nodes == 0.5  # one of the laptop's two devices
    assert status.start is not None
    assert status.end is not None
    assert status.seconds == status.end - status.start
    assert job.log.read_text() == "all is well\n"


@pytest.mark.parametrize(("nodes", "processes"), [(1, 2), (2, 1)])
def test_ranks_find_each_other(
    scheduler: Scheduler, make_job: MakeJob, nodes: int, processes: int
) -> None:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    program = f"import os; os.write(1, ' '.join(map(os.environ.get, {names})).encode() + b'\\n')"
    job = make_job("python3", "-c", program, nodes=nodes, processes_per_node=processes)
    assert wait(scheduler, submit(scheduler, job)).nodes == 1.0
    ranks = sorted(line.split() for line in job.log.read_text().splitlines())
    port = ranks[0][4]
    assert ranks == [["0", "0", "2", "127.0.0.1", port], ["1", "1", "2", "127.0.0.1", port]]


def test_the_program_s_exit_code_is_the_job_s(scheduler: Scheduler, make_job: MakeJob) -> None:
    status = wait(scheduler, submit(scheduler, make_job("sh", "-c", "exit 85")))
    assert (status.state, status.exit_code) == (State.FAILED, 85)


def test_a_failure_ends_the_ranks_that_wait_for_it(scheduler: Scheduler, make_job: MakeJob) -> None:
    job = make_job("sh", "-c", "[ $RANK = 0 ] && exec sleep 60; exit 3", processes_per_node=2)
    text = render(job, SITE).replace("grace_seconds=30", "grace_seconds=1")
    status = wait(scheduler, scheduler.submit(job, text))
    assert (status.state, status.exit_code) == (State.FAILED, 3)


def test_a_known_key_is_not_submitted_again(scheduler: Scheduler, make_job: MakeJob) -> None:
    job = make_job("echo", "once")
    assert scheduler.find(job.key, 0.0) is None
    id_ = submit(scheduler, job)
    assert submit(scheduler, job) == scheduler.find(job.key, 0.0) == id_
    wait(scheduler, id_)
    assert submit(scheduler, job) == id_
    assert job.log.read_text() == "once\n"


def test_of_two_submitters_one_wins(scheduler: Scheduler, make_job: MakeJob, run: Run) -> None:
    id_ = submit(scheduler, make_job())
    wait(scheduler, id_)
    path, found = read(run, id_)
    assert not record.create(path, found)


def test_cancel_lets_the_job_save(scheduler: Scheduler, make_job: MakeJob) -> None:
    job = make_job("python3", "-c", SAVE_AND_CONTINUE)
    id_ = submit(scheduler, job)
    wait_for("ready", job.log)
    scheduler.cancel([of(id_), of("unheard-of")])
    status = wait(scheduler, id_)
    assert (status.state, status.exit_code) == (State.CANCELLED, None)
    assert "saving on SIGTERM" in job.log.read_text()
    scheduler.cancel([of(id_)])  # over: nothing happens
    assert scheduler.query([of(id_)])[of(id_)] == status


def test_a_waiting_job_can_be_cancelled_and_costs_nothing(
    scheduler: Scheduler, make_job: MakeJob
) -> None:
    first = submit(scheduler, make_job("sleep", "60", key="first", processes_per_node=2))
    assert wait(scheduler, first, until=State.RUNNING).state is State.RUNNING
    second = submit(scheduler, make_job(key="second"))
    assert scheduler.query([of(second)])[of(second)].state is State.PENDING
    scheduler.cancel([of(second)])
    status = wait(scheduler, second)
    assert (status.state, status.seconds, status.start) == (State.CANCELLED, 0, None)


def test_a_pilot_takes_the_whole_laptop(scheduler: Scheduler, make_job: MakeJob) -> None:
    status = wait(scheduler, submit(scheduler, make_job("sh", "-c", "test -z $RANK", pilot=True)))
    assert (status.state, status.nodes) == (State.COMPLETED, 1.0)


def test_more_devices_than_there_are_is_refused(scheduler: Scheduler, make_job: MakeJob) -> None:
    with pytest.raises(SchedulerError, match="requests 4 devices, this machine has 2"):
        submit(scheduler, make_job(processes_per_node=4))


def test_an_unheard_of_job_is_unknown(scheduler: Scheduler) -> None:
    assert scheduler.query([of("nobody")])[of("nobody")].state is State.UNKNOWN


def test_a_job_without_a_record_is_known_by_its_runner(
    scheduler: Scheduler, make_job: MakeJob, run: Run
) -> None:
    job = make_job("python3", "-c", SAVE_AND_CONTINUE)
    id_ = submit(scheduler, job)
    wait_for("ready", job.log)
    path, _ = read(run, id_)
    path.unlink()
    status = scheduler.query([of(id_)])[of(id_)]
    assert (status.state, status.key) == (State.RUNNING, id_)
    assert submit(scheduler, job) == scheduler.find(id_, 0.0) == id_
    assert not path.exists(), "it was not started again"
    scheduler.cancel([of(id_)])
    wait_for("saving on SIGTERM", job.log)
    assert wait(scheduler, id_).state is State.CANCELLED, "its runner writes the end"


def test_a_job_without_record_or_runner_is_gone(
    scheduler: Scheduler, make_job: MakeJob, run: Run
) -> None:
    """As in a run that was restored from an archive, here or on another machine."""
    id_ = submit(scheduler, make_job())
    wait(scheduler, id_)
    path, _ = read(run, id_)
    path.unlink()
    for _ in range(100):
        status = scheduler.query([of(id_)])[of(id_)]
        if status.is_gone:
            break
        time.sleep(0.05)  # its runner has written the end, and ends
    assert (status.state, status.is_gone) == (State.UNKNOWN, True)
    assert "no process of this machine runs it" in status.reason
    assert scheduler.find(id_, 0.0) is None


def test_a_killed_runner_lets_the_job_save_and_is_a_failure(
    scheduler: Scheduler, make_job: MakeJob, run: Run
) -> None:
    job = make_job("python3", "-c", SAVE_AND_CONTINUE)
    id_ = submit(scheduler, job)
    wait_for("ready", job.log)
    _, found = read(run, id_)
    assert found.runner is not None
    os.kill(found.runner.pid, signal.SIGKILL)
    status = wait(scheduler, id_)
    assert (status.state, status.exit_code) == (State.FAILED, None)
    assert status.end is not None
    wait_for("saving on SIGTERM", job.log)
    assert scheduler.query([of(id_)])[of(id_)] == status


def test_a_job_whose_runner_never_started_failed(
    scheduler: Scheduler, make_job: MakeJob, run: Run
) -> None:
    id_ = submit(scheduler, make_job())
    wait(scheduler, id_)
    path, found = read(run, id_)
    waiting = {"runner": None, "state": None, "start": None, "end": None, "exit_code": None}
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    for skew in (-172_800, 0, 172_800):  # the clock was set since
        changes = {"submitted_uptime": now, "submitted": int(time.time()) + skew}
        record.write(path, found.model_copy(update={**waiting, **changes}))
        assert scheduler.query([of(id_)])[of(id_)].state is State.PENDING
    record.write(path, found.model_copy(update={**waiting, "submitted_uptime": now - 60}))
    assert scheduler.query([of(id_)])[of(id_)].state is State.FAILED


def test_the_job_outlives_its_controller(make_job: MakeJob, run: Run) -> None:
    job = make_job("sh", "-c", "sleep 1; echo survived")
    program = (
        "import sys; from pathlib import Path; from pipeline.job import Job; "
        "from pipeline.run import Run; from pipeline.scheduler import connect, render; "
        "from pipeline.site import load_site; site = load_site('local'); "
        "job = Job.model_validate_json(sys.argv[1]); "
        "connect(site, Run(Path(sys.argv[2]), sys.argv[3])).submit(job, render(job, site)); "
        "import os, signal; os.killpg(0, signal.SIGKILL)"
    )
    arguments = (job.model_dump_json(), str(run.root), run.campaign)
    controller = [sys.executable, "-c", program, *arguments]
    subprocess.run(controller, start_new_session=True, check=False)
    status = wait(connect(SITE, run), job.key)
    assert status.state is State.COMPLETED
    assert "survived" in job.log.read_text()


def test_a_damaged_record_is_named(scheduler: Scheduler, run: Run) -> None:
    path = run.path / "local" / "jobs" / "torn.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"key": "to')
    with pytest.raises(SchedulerError, match=r"torn.json: not a job's record \(1 faults\)"):
        scheduler.query([of("torn")])


def test_a_record_under_another_job_s_name_is_not_believed(
    scheduler: Scheduler, make_job: MakeJob, run: Run
) -> None:
    job = make_job()
    wait(scheduler, submit(scheduler, job))
    path, _ = read(run, job.key)
    path.with_name("other.json").write_text(path.read_text())
    with pytest.raises(SchedulerError, match=r"other.json: the record of another job, pretrain-m"):
        scheduler.query([of("other")])


def test_a_process_that_has_the_id_of_a_runner_is_not_ended(
    scheduler: Scheduler, make_job: MakeJob, run: Run
) -> None:
    id_ = submit(scheduler, make_job("sleep", "60"))
    wait(scheduler, id_, until=State.RUNNING)
    path, found = read(run, id_)
    assert found.runner is not None
    os.kill(found.runner.pid, signal.SIGKILL)
    with subprocess.Popen(["sleep", "60"]) as other:
        holder = Holder(found.runner.host, other.pid, found.runner.started)
        record.write(path, found.model_copy(update={"runner": holder}))
        scheduler.cancel([of(id_)])
        assert scheduler.query([of(id_)])[of(id_)].state is State.FAILED
        assert other.poll() is None
        other.kill()


def test_a_runner_that_does_not_start_is_reported(
    scheduler: Scheduler, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.scheduler.local.START_SECONDS", 0.5)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(
        SchedulerError, match=r"did not start within 0.5 s. See .*pretrain-m0.1.log"
    ):
        submit(scheduler, make_job())


def test_the_runner_wants_a_record(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline.scheduler.runner", str(tmp_path / "none.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no such record. Jobs are started by `cosmotron run`" in done.stderr


def made(tmp_path: Path, script: str, *, walltime_seconds: int, lead_seconds: int) -> Record:
    (tmp_path / "job.sh").write_text(script)
    return Record(
        key="job",
        script=tmp_path / "job.sh",
        log=tmp_path / "job.log",
        devices=1,
        devices_here=2,
        nodes=0.5,
        walltime_seconds=walltime_seconds,
        signal_lead_seconds=lead_seconds,
        submitted=0,
    )


def test_before_its_walltime_a_job_is_told_to_save(tmp_path: Path) -> None:
    script = "trap 'exit 85' USR1; sleep 60 & wait"
    ended = runner.run(made(tmp_path, script, walltime_seconds=20, lead_seconds=19))
    assert (ended.state, ended.exit_code) == (State.FAILED, 85)


def test_at_its_walltime_a_job_is_ended(tmp_path: Path) -> None:
    script = f"trap '' USR1 TERM; echo $$ > '{tmp_path}/pid'; sleep 60; sleep 60"
    asked = made(tmp_path, script, walltime_seconds=1, lead_seconds=0)
    ended = runner.run(asked, kill_wait_seconds=0.5)
    assert (ended.state, ended.exit_code) == (State.TIMEOUT, None)
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_a_job_leaves_nothing_running(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > '{tmp_path}/pid'; exit 0"
    ended = runner.run(made(tmp_path, script, walltime_seconds=20, lead_seconds=0))
    assert ended.state is State.COMPLETED
    left = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if process_started(left) is None:
            return
        time.sleep(0.05)
    raise AssertionError(left)


def test_a_record_says_it_all(tmp_path: Path) -> None:
    asked = made(tmp_path, "", walltime_seconds=1, lead_seconds=0)
    record.write(tmp_path / "job.json", asked)
    assert json.loads((tmp_path / "job.json").read_text())["walltime_seconds"] == 1
    assert record.read(tmp_path / "job.json") == asked


def test_a_job_that_a_full_disk_kept_from_its_start_was_never_submitted(
    scheduler: Scheduler, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job("true")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", full)
        with pytest.raises(OSError, match="No space left"):
            submit(scheduler, job)
    assert scheduler.find(job.key, 0.0) is None
    assert wait(scheduler, submit(scheduler, job)).state is State.COMPLETED
