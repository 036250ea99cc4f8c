"""The Slurm scheduler against small programs that answer as Slurm does, and as it should not."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.job import Job, JobHandle, State
from pipeline.run import Run
from pipeline.scheduler import NotNowError, SchedulerError, connect
from pipeline.scheduler.slurm import SlurmScheduler
from pipeline.site import load_site

MakeJob = Callable[..., Job]
SCHEDULER = SlurmScheduler(timeout_seconds=10.0)
REAL = Path(__file__).with_name("slurm_22_05")
DAY = 86_400
NOW = 2_000_000_000  # of a job that is submitted in a test, or later


def kept(id_: str, state: str = "COMPLETED", key: str = "a", submitted: int = 1000) -> str:
    """A row of sacct."""
    return f"{id_}|{state}|60|2|{submitted}|1000|1060|0:0|nid[1-2]|0|00:00:00|{key}"


def queued(id_: str, state: str = "PENDING", key: str = "a", submitted: int = 1000) -> str:
    """A row of squeue."""
    return f"{id_}|{state}|1|{submitted}|1000|None|{key}"


LATE = queued("91", key="pretrain-m0.1", submitted=NOW)


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

    def prints(self, command: str, path: Path) -> None:
        """Let `command` print a file."""
        self.answers(command, then=f"cat '{path}'")

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
    ("command", "row"),
    [
        ("squeue", "55|RUNNING|1|1000|1000|None|pretrain-m0.1"),
        ("sacct", "55|COMPLETED|60|1|1000|1000|1060|0:0|nid1|0|00:00:00|pretrain-m0.1"),
    ],
    ids=["live", "over"],
)
def test_a_known_key_is_not_submitted_again(
    slurm: Slurm, make_job: MakeJob, command: str, row: str
) -> None:
    slurm.answers(command, row)
    assert SCHEDULER.submit(make_job(), "", tried_since=1000.0) == "55"
    assert not any(call.startswith("sbatch") for call in slurm.calls)


def test_a_live_job_is_preferred_to_one_that_is_over(slurm: Slurm) -> None:
    slurm.answers("sacct", kept("55", key="pretrain-m0.1"))
    slurm.answers("squeue", queued("56", key="pretrain-m0.1"))
    assert SCHEDULER.find("pretrain-m0.1", 0.0) == "56"


def test_a_job_that_is_found_by_its_name_has_that_name(slurm: Slurm) -> None:
    slurm.answers("squeue", queued("56", key="pretrain-m0.1-of-another"))
    slurm.answers("sacct", kept("57"), kept("58", key="pretrain-m0.1"))
    assert SCHEDULER.find("pretrain-m0.1", 0.0) == "58"
    assert SCHEDULER.find("pretrain-m0.1", 1000 + 30 * DAY) is None, "it was there before"


def test_a_lost_reply_is_no_second_job(slurm: Slurm, make_job: MakeJob) -> None:
    accepted = slurm.folder / "accepted"
    slurm.answers("sbatch", then=f"touch '{accepted}'; exec sleep 20")
    slurm.answers("squeue", then=f"if [ -e '{accepted}' ]; then echo '{LATE}'; fi")
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
    slurm.answers("squeue", then=f"if [ -e '{accepted}' ]; then echo '{LATE}'; fi")
    assert SCHEDULER.submit(make_job(), "") == "91"


def test_sbatch_that_says_nothing_and_took_nothing_may_be_asked_again(
    slurm: Slurm, make_job: MakeJob
) -> None:
    with pytest.raises(NotNowError, match=r"sbatch printed no job's id, but ''\. Run the same"):
        SCHEDULER.submit(make_job(), "")


def test_a_key_that_nobody_tried_is_not_looked_up(slurm: Slurm, make_job: MakeJob) -> None:
    slurm.answers("sbatch", "77")
    SCHEDULER.submit(make_job(), "")
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
        SCHEDULER.find("pretrain-m0.1", 0.0)


def test_all_jobs_are_asked_for_in_one_call(slurm: Slurm) -> None:
    slurm.answers(
        "sacct",
        "1|COMPLETED|60|2|900|1000|1060|0:0|nid[1-2]|0|00:00:00|a",
        "2|CANCELLED by 1000|5|1|900|1000|1005|0:0|nid[1-2]|0|00:00:00|b",
        "3|FAILED|9|1|900|1000|1009|85:0|nid3|0|00:00:00|c",
        "4|FAILED|9|1|900|1000|1009|0:9|None assigned|0|00:00:00|d",
        "5|RUNNING|7|1|900|1000|Unknown|0:0|nid[1-2]|0|1-00:00:09|e|f",
        "6|PENDING|0|1|900|Unknown|Unknown|0:0|nid[1-2]|0|00:00:00|g",
        "7|NEW_IN_SLURM_99|0|1|900|Unknown|Unknown|0:0|nid[1-2]||00:00:00|h",
    )
    keys = ("a", "b", "c", "d", "e|f", "g", "h")
    wanted = [JobHandle(str(number), key) for number, key in enumerate(keys, 1)]
    jobs = SCHEDULER.query(wanted)
    assert [call.split()[0] for call in slurm.calls] == ["sacct", "squeue"]
    assert "--jobs=1,2,3,4,5,6,7" in slurm.calls[0]
    assert [job.state.value for job in jobs.values()] == [
        "completed", "cancelled", "failed", "failed", "running", "pending", "unknown",
    ]  # fmt: skip
    assert [job.exit_code for job in jobs.values()] == [0, None, 85, 137, None, None, None]
    first = jobs[wanted[0]]
    assert (first.seconds, first.nodes, first.start, first.end) == (60, 2.0, 1000, 1060)
    fifth = jobs[wanted[4]]
    assert (fifth.key, fifth.suspended_seconds) == ("e|f", DAY + 9)
    assert first.energy_joules is None


def test_every_attempt_of_a_requeued_job_counts(slurm: Slurm) -> None:
    slurm.answers(
        "sacct",
        "1|COMPLETED|50|4|1100|2000|2050|0:0|nid1|3600000|00:00:00|a",
        "1|PREEMPTED|100|4|900|1000|1100|0:0|nid1|7200000|00:00:00|a",
    )
    (job,) = SCHEDULER.query([JobHandle("1", "a")]).values()
    assert (job.state, job.seconds, job.start) == (State.COMPLETED, 150, 2000)
    assert job.attempts == (100, 50)
    assert job.energy_joules == 7200000 + 3600000


def test_a_job_that_accounting_does_not_know_yet_is_in_the_queue(slurm: Slurm) -> None:
    slurm.answers(
        "squeue", "8|RUNNING|2|900|1000|None|a", "9|PENDING|1|900|9999999999|Priority|b|c"
    )
    wanted = [JobHandle("8", "a"), JobHandle("9", "b|c"), JobHandle("10", "d")]
    jobs = SCHEDULER.query(wanted)
    assert [jobs[each].state.value for each in wanted] == ["running", "pending", "unknown"]
    assert jobs[wanted[0]].seconds > 10**9
    waiting = jobs[wanted[1]]
    assert (waiting.key, waiting.start, waiting.seconds) == ("b|c", None, 0)


def test_a_job_of_which_only_the_end_arrived_is_not_believed_yet(slurm: Slurm) -> None:
    slurm.answers("sacct", kept("8", key="allocation"))
    (job,) = SCHEDULER.query([JobHandle("8", "a")]).values()
    assert (job.state, job.reason) == (State.UNKNOWN, "")


def test_of_three_jobs_with_one_id_each_is_known_by_its_name_and_its_time(slurm: Slurm) -> None:
    slurm.prints("sacct", REAL / "sacct_one_id_three_jobs.txt")
    old, others, ours = (
        JobHandle("1", "ours.run", since=1796017430),
        JobHandle("1", "my-other-simulation", since=1796017570),
        JobHandle("1", "ours.1", since=1796017590),
    )
    found = SCHEDULER.query([ours, old, others])
    facts = {job: (each.state.value, each.nodes, each.seconds) for job, each in found.items()}
    assert facts == {
        old: ("cancelled", 1.0, 11),
        others: ("completed", 4.0, 2),
        ours: ("completed", 1.0, 1),
    }
    assert "--jobs=1 " in f"{slurm.calls[0]} "


def test_steps_array_tasks_and_attempts_of_others_are_not_charged(slurm: Slurm) -> None:
    slurm.prints("sacct", REAL / "sacct_one_id_three_jobs.txt")
    suspended, requeued = JobHandle("2", "ours.susp"), JobHandle("3", "ours.requeued")
    found = SCHEDULER.query([suspended, requeued])
    assert (found[suspended].seconds, found[suspended].suspended_seconds) == (5, 8)
    assert (found[requeued].attempts, found[requeued].nodes) == ((0, 0), 1.0)


@pytest.mark.parametrize("command", ["sacct", "squeue"])
def test_another_s_job_with_our_id_is_neither_counted_nor_cancelled(
    slurm: Slurm, command: str
) -> None:
    row = kept("4711", "RUNNING", "my-other-simulation", NOW)
    if command == "squeue":
        row = queued("4711", "RUNNING", "my-other-simulation", NOW)
    slurm.answers(command, row)
    ours = JobHandle("4711", "a", since=float(NOW))
    (job,) = SCHEDULER.query([ours]).values()
    assert (job.state, job.nodes, job.seconds, job.key) == (State.UNKNOWN, 0.0, 0, "")
    assert job.reason == (
        "the scheduler knows only another job with the id 4711 (my-other-simulation), which is "
        "left alone"
    )
    SCHEDULER.cancel([ours])
    assert not any(call.startswith("scancel") for call in slurm.calls)


def test_a_job_of_our_name_that_is_older_than_our_submission_is_not_ours(slurm: Slurm) -> None:
    slurm.answers("sacct", kept("8"))
    (job,) = SCHEDULER.query([JobHandle("8", "a", since=1000.0 + 30 * DAY)]).values()
    assert job.state is State.UNKNOWN
    (job,) = SCHEDULER.query([JobHandle("8", "a", since=1000.0 + 3600)]).values()
    assert job.state is State.COMPLETED, "clocks of two machines differ"


def test_the_queue_knows_our_job_whose_id_accounting_has_of_another(slurm: Slurm) -> None:
    slurm.answers("sacct", kept("1", key="my-other-simulation"))
    slurm.prints("squeue", REAL / "squeue_new_controller.txt")
    (job,) = SCHEDULER.query([JobHandle("1", "ours.1", since=1796017590)]).values()
    assert (job.state, job.reason, job.nodes) == (State.PENDING, "", 1.0)
    slurm.answers("squeue", queued("1", "COMPLETED", "ours.1", 1796017590))
    (job,) = SCHEDULER.query([JobHandle("1", "ours.1", since=1796017590)]).values()
    assert (job.state, job.reason) == (State.UNKNOWN, ""), "accounting is late"


def test_the_queue_is_not_asked_about_jobs_that_run_or_are_over(slurm: Slurm) -> None:
    slurm.answers("sacct", kept("1", "RUNNING"), kept("2", key="b"))
    SCHEDULER.query([JobHandle("1", "a"), JobHandle("2", "b")])
    assert [call.split()[0] for call in slurm.calls] == ["sacct"]


def test_accounting_is_asked_back_to_the_oldest_reservation(slurm: Slurm) -> None:
    SCHEDULER.query([JobHandle("8", "a", since=3e8), JobHandle("9", "b", since=2e8)])
    SCHEDULER.find("a", 4e8)
    asked = [call for call in slurm.calls if call.startswith("sacct")]
    assert f"--starttime=uts{2 * 10**8 - DAY} " in asked[0]
    assert f"--starttime=uts{4 * 10**8 - DAY} " in asked[1]
    assert "--endtime" not in "".join(asked)


LIMITED = """
start=$(echo "$*" | sed -n 's/.*--starttime=uts\\([0-9]*\\).*/\\1/p')
end=$(echo "$*" | sed -n 's/.*--endtime=uts\\([0-9]*\\).*/\\1/p')
if [ $((${end:-$(date +%s)} - start)) -gt 2592000 ]; then
    echo "sacct: error: Too wide of a date range in query" >&2
    exit 95
fi
submitted=$(($(date +%s) - 100 * 86400))
if [ "$start" -le "$submitted" ] && [ "${end:-$(date +%s)}" -ge "$submitted" ]; then
    echo "8|COMPLETED|60|2|$submitted|$submitted|$((submitted + 60))|0:0|nid1|0|00:00:00|a"
fi
"""


def test_where_accounting_limits_the_range_it_is_asked_in_several(slurm: Slurm) -> None:
    """As MaxQueryTimeRange of slurmdbd.conf does, here 30 days; the words are those of 22.05."""
    slurm.answers("sacct", then=LIMITED)
    scheduler = SlurmScheduler(timeout_seconds=10.0)
    since = time.time() - 120 * DAY
    assert scheduler.find("a", since) == "8"
    first = len(slurm.calls)
    assert scheduler.find("b", since) is None
    (job,) = scheduler.query([JobHandle("8", "a", since)]).values()
    assert (job.state, job.seconds, job.attempts) == (State.COMPLETED, 60, ())
    asked = [call for call in slurm.calls[first:] if call.startswith("sacct")]
    assert len(asked) == 2 * 9, "the limit was found out once: nine times half a month"


def test_a_range_that_is_always_too_wide_is_an_error(slurm: Slurm) -> None:
    words = "sacct: error: Too wide of a date range in query"
    slurm.answers("sacct", then=f"echo '{words}' >&2; exit 95")
    with pytest.raises(SchedulerError, match=words):
        SlurmScheduler(timeout_seconds=10.0).find("a", time.time() - 3 * DAY)
    assert len(slurm.calls) < 12


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
    slurm.answers("squeue", queued("8"), then=f"env | grep -c _FORMAT >> '{seen}'")
    SCHEDULER.query([JobHandle("8", "a")])
    SCHEDULER.cancel([JobHandle("8", "a")])
    assert seen.read_text().split() == ["1"] * 4  # SLURM_TIME_FORMAT, which is ours


def test_nothing_asked_is_nothing_called(slurm: Slurm) -> None:
    assert SCHEDULER.query([]) == {}
    SCHEDULER.cancel([])
    assert slurm.calls == []


def test_all_jobs_are_cancelled_in_one_call(slurm: Slurm) -> None:
    slurm.answers("squeue", queued("11"), queued("12", key="b"), queued("13", key="c"))
    SCHEDULER.cancel([JobHandle("12", "b"), JobHandle("11", "a"), JobHandle("13", "d")])
    assert slurm.calls[1:] == ["scancel --quiet 11 12"]


def test_what_is_over_is_not_cancelled(slurm: Slurm) -> None:
    SCHEDULER.cancel([JobHandle("12", "b")])
    assert [call.split()[0] for call in slurm.calls] == ["squeue"]
