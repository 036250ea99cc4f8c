"""The Slurm scheduler against small programs that answer as Slurm does, and as it should not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.job import Job, State
from pipeline.run import Run
from pipeline.scheduler import NotNowError, SchedulerError, connect
from pipeline.scheduler.slurm import SlurmScheduler
from pipeline.site import load_site

MakeJob = Callable[..., Job]
SCHEDULER = SlurmScheduler(timeout_seconds=10.0)


class Slurm:
    """A folder of commands on PATH, and what they were called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for command in ("sbatch", "squeue", "sacct", "scancel"):
            self.answers(command)

    def answers(self, command: str, *rows: str, then: str = "") -> None:
        """Let `command` print `rows`, note its arguments, and go on with the shell code `then`."""
        said = "".join(f"echo '{row}'\n" for row in rows)
        script = f'#!/bin/sh\necho "{command} $*" >> "{self.folder}/calls"\n{said}{then}\n'
        path = self.folder / command
        path.write_text(script)
        path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    return Slurm(tmp_path / "bin")


def test_a_job_is_written_and_submitted(slurm: Slurm, make_job: MakeJob, run: Run) -> None:
    slurm.answers("sbatch", "77;perlmutter")
    job = make_job()
    assert connect(load_site("testbed"), run).submit(job, "#!/bin/sh\n") == "77"
    assert job.script.read_text() == "#!/bin/sh\n"
    assert slurm.calls[-1] == f"sbatch --parsable {job.script}"


@pytest.mark.parametrize(
    ("command", "row"), [("squeue", "55"), ("sacct", "55|pretrain-m0.1")], ids=["live", "over"]
)
def test_a_known_key_is_not_submitted_again(
    slurm: Slurm, make_job: MakeJob, command: str, row: str
) -> None:
    slurm.answers(command, row)
    assert SCHEDULER.submit(make_job(), "") == "55"
    assert not any(call.startswith("sbatch") for call in slurm.calls)


def test_a_live_job_is_preferred_to_one_that_is_over(slurm: Slurm) -> None:
    slurm.answers("sacct", "55|pretrain-m0.1")
    slurm.answers("squeue", "56")
    assert SCHEDULER.find("pretrain-m0.1") == "56"


def test_a_lost_reply_is_no_second_job(slurm: Slurm, make_job: MakeJob) -> None:
    accepted = slurm.folder / "accepted"
    slurm.answers("sbatch", then=f"touch '{accepted}'; exec sleep 20")
    slurm.answers("squeue", then=f"if [ -e '{accepted}' ]; then echo 91; fi")
    assert SlurmScheduler(timeout_seconds=0.5).submit(make_job(), "") == "91"


def test_a_reply_lost_without_a_job_says_what_to_do(slurm: Slurm, make_job: MakeJob) -> None:
    slurm.answers("sbatch", then="exec sleep 20")
    expected = r"sbatch did not answer within 0.5 s. Run the same command again"
    with pytest.raises(SchedulerError, match=expected):
        SlurmScheduler(timeout_seconds=0.5).submit(make_job(), "")


def test_sbatch_that_accepts_and_says_nothing_is_no_second_job(
    slurm: Slurm, make_job: MakeJob
) -> None:
    accepted = slurm.folder / "accepted"
    slurm.answers("sbatch", then=f"touch '{accepted}'")
    slurm.answers("squeue", then=f"if [ -e '{accepted}' ]; then echo 92; fi")
    assert SCHEDULER.submit(make_job(), "", tried=False) == "92"


def test_sbatch_that_says_nothing_and_took_nothing_may_be_asked_again(
    slurm: Slurm, make_job: MakeJob
) -> None:
    with pytest.raises(NotNowError, match=r"sbatch printed no job's id, but ''\. Run the same"):
        SCHEDULER.submit(make_job(), "")


def test_a_key_that_nobody_tried_is_not_looked_up(slurm: Slurm, make_job: MakeJob) -> None:
    slurm.answers("sbatch", "77")
    SCHEDULER.submit(make_job(), "", tried=False)
    assert [call.split()[0] for call in slurm.calls] == ["sbatch"]


@pytest.mark.parametrize(
    "words",
    [
        "sbatch: error: QOSMaxSubmitJobPerUserLimit",
        "sbatch: error: AssocMaxSubmitJobLimit",
        "sbatch: error: AssocGrpSubmitJobsLimit",
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sacct: error: Sending PersistInit msg: Connection refused",
    ],
)
def test_a_full_queue_and_an_absent_controller_are_not_for_ever(
    slurm: Slurm, make_job: MakeJob, words: str
) -> None:
    slurm.answers("sbatch", then=f"echo '{words}' >&2; exit 1")
    with pytest.raises(NotNowError, match="sbatch failed with exit code 1"):
        SCHEDULER.submit(make_job(), "")


def test_a_refusal_comes_in_slurm_s_own_words(slurm: Slurm, make_job: MakeJob) -> None:
    words = "sbatch: error: Invalid account or account/partition combination specified"
    slurm.answers("sbatch", then=f"echo '{words}' >&2; exit 1")
    with pytest.raises(SchedulerError, match=f"sbatch failed with exit code 1: {words}") as caught:
        SCHEDULER.submit(make_job(), "")
    assert not isinstance(caught.value, NotNowError)


def test_without_slurm_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SchedulerError, match=r"squeue: no such command. Is this a login node"):
        SCHEDULER.find("pretrain-m0.1")


def test_all_jobs_are_asked_for_in_one_call(slurm: Slurm) -> None:
    slurm.answers(
        "sacct",
        "1|COMPLETED|60|2|1000|1060|0:0|nid[1-2]|0|a",
        "2|CANCELLED by 1000|5|1|1000|1005|0:0|nid[1-2]|0|b",
        "3|FAILED|9|1|1000|1009|85:0|nid3|0|c",
        "4|FAILED|9|1|1000|1009|0:9|None assigned|0|d",
        "5|RUNNING|7|1|1000|Unknown|0:0|nid[1-2]|0|e|f",
        "6|PENDING|0|1|Unknown|Unknown|0:0|nid[1-2]|0|g",
        "7|NEW_IN_SLURM_99|0|1|Unknown|Unknown|0:0|nid[1-2]|0|h",
    )
    jobs = SCHEDULER.query(str(id_) for id_ in range(1, 8))
    assert len(slurm.calls) == 1
    assert "--jobs=1,2,3,4,5,6,7" in slurm.calls[0]
    assert [job.state.value for job in jobs.values()] == [
        "completed", "cancelled", "failed", "failed", "running", "pending", "unknown",
    ]  # fmt: skip
    assert [job.exit_code for job in jobs.values()] == [0, None, 85, 137, None, None, None]
    first = jobs["1"]
    assert (first.seconds, first.nodes, first.start, first.end) == (60, 2.0, 1000, 1060)
    assert jobs["5"].key == "e|f"
    assert first.energy_joules is None


def test_every_attempt_of_a_requeued_job_counts(slurm: Slurm) -> None:
    slurm.answers(
        "sacct",
        "1|PREEMPTED|100|4|1000|1100|0:0|nid1|7200000|a",
        "1|COMPLETED|50|4|2000|2050|0:0|nid1|3600000|a",
    )
    job = SCHEDULER.query(["1"])["1"]
    assert (job.state, job.seconds, job.start) == (State.COMPLETED, 150, 2000)
    assert job.energy_joules == 7200000 + 3600000


def test_a_job_that_accounting_does_not_know_yet_is_in_the_queue(slurm: Slurm) -> None:
    slurm.answers("squeue", "8|RUNNING|2|1000|a", "9|PENDING|1|9999999999|b|c")
    jobs = SCHEDULER.query(["8", "9", "10"])
    assert [job.state.value for job in jobs.values()] == ["unknown", "running", "pending"]
    assert jobs["8"].seconds > 10**9
    assert (jobs["9"].key, jobs["9"].start, jobs["9"].seconds) == ("b|c", None, 0)


def test_a_job_of_which_only_the_end_arrived_is_not_believed_yet(slurm: Slurm) -> None:
    slurm.answers("sacct", "8|COMPLETED|1|2|1000|1001|0:0|nid1|0|allocation")
    assert SCHEDULER.query(["8"])["8"].state is State.UNKNOWN


def test_a_controller_s_own_job_leaks_into_no_other(
    slurm: Slurm, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1024")
    monkeypatch.setenv("SBATCH_QOS", "debug")
    told = slurm.folder / "environment"
    words = f"echo $SLURM_CONF$SLURM_MEM_PER_NODE$SBATCH_QOS > '{told}'; echo 9"
    slurm.answers("sbatch", then=words)
    assert SCHEDULER.submit(make_job(), "") == "9"
    assert told.read_text() == "/etc/slurm.conf\n"


def test_options_that_a_user_set_to_read_the_queue_change_nothing(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = slurm.folder / "environment"
    for command in ("squeue", "sacct", "scancel"):
        monkeypatch.setenv(f"{command.upper()}_FORMAT", "%all")
        slurm.answers(command, then=f"env | grep -c _FORMAT >> '{seen}'")
    SCHEDULER.query(["8"])
    SCHEDULER.cancel(["8"])
    assert seen.read_text().split() == ["1", "1", "1"]  # SLURM_TIME_FORMAT, which is ours


def test_nothing_asked_is_nothing_called(slurm: Slurm) -> None:
    assert SCHEDULER.query([]) == {}
    SCHEDULER.cancel([])
    assert slurm.calls == []


def test_all_jobs_are_cancelled_in_one_call(slurm: Slurm) -> None:
    SCHEDULER.cancel(["12", "11"])
    assert slurm.calls == ["scancel --quiet 11 12"]
