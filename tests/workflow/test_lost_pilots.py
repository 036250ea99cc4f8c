"""Pilots that are lost while tasks run in them: replaced, told, and not for ever."""

from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
from scheduler_fakes import FakeScheduler, tiny_plan

pytest.importorskip("parsl")

from lost_pilots import kill, running, worker_pools
from parsl.executors.errors import BadStateException
from parsl.executors.high_throughput.errors import ManagerLost
from parsl.jobs.states import JobState, JobStatus

from pipeline.chains.job_manager import JobManager
from pipeline.job import State
from pipeline.planning.plan import PILOT
from pipeline.scheduler import connect
from pipeline.workflow import graph, pilots
from pipeline.workflow.losses import MOST_FAILED_STARTS, MOST_LOST, Losses
from pipeline.workflow.provider import PilotProvider

# What a shell, a template of Python's and a splitter of words each take for their own.
ODD = """my runs; $HOME `id` 'ä' "ü" {x} %j \\n"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost pilot is noticed after seconds."""
    monkeypatch.setattr(pilots, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(pilots, "SILENT_SECONDS", 4)


def local_manager(root: Path, *prologue: str) -> JobManager:
    plan = tiny_plan(root)
    site = plan.site.model_copy(update={"prologue": prologue})
    vars(plan)["site"] = site
    return JobManager(plan, connect(site, plan.run))


def test_a_killed_pilot_is_replaced_and_its_tasks_begin_again(tmp_path: Path) -> None:
    """In a folder whose name means something to shells and templates."""
    manager = local_manager(tmp_path / ODD)
    run = manager.plan.run.path
    with running(manager) as works:
        log = run / "log of ü"
        waits = f"echo begun; while [ ! -e '{tmp_path}/go' ]; do sleep 0.1; done"
        future = works.task(waits, log)
        works.wait(lambda: log.exists() and "begun" in log.read_text())
        (pool,) = worker_pools(run)
        kill(pool)
        works.wait(lambda: any("replaces" in line for line in works.news))
        (tmp_path / "go").touch()
        works.wait(future.done)
        assert future.result() == 0
    assert "ended failed with exit code 137" in works.news[0]
    assert "loss 1 of fewer than 3" in works.news[0]
    assert not worker_pools(run)


def test_pilots_that_never_work_end_soon_with_their_log(tmp_path: Path) -> None:
    manager = local_manager(tmp_path, "echo Unable to locate a modulefile for 'python/9'", "exit 3")
    with running(manager) as works:
        future = works.task("true", tmp_path / "log")
        works.wait(future.done)
        later = works.task("true", tmp_path / "log")
        works.wait(later.done)
    step = next(step for step in manager.plan.steps if step.in_pilot)
    for each in (future, later):
        message = graph.problem(step, manager, each.exception())
        assert message.splitlines()[0].startswith("Pilot tiny.pilot.3-")
        assert "before a worker of it reported. 3 in a row did" in message
        assert "cosmotron sites check local --job" in message
        assert message.endswith("Unable to locate a modulefile for python/9")
    assert len(works.news) == MOST_FAILED_STARTS - 1


class Blocks:
    """Stands for Parsl's executor: blocks that end as the test says, and what became of it."""

    def __init__(self, root: Path) -> None:
        self.scheduler = FakeScheduler()
        plan = tiny_plan(root, "perlmutter", project="m4722")
        self.provider = PilotProvider(JobManager(plan, self.scheduler), PILOT)
        self.losses = Losses(self.provider)
        self.blocks_to_job_id: dict[str, str] = {}
        self.status_facade: dict[str, JobStatus] = {}
        self.error: Exception | None = None

    def set_bad_state_and_fail_all(self, error: Exception) -> None:
        self.error = error

    def end(self, known: State, seen: JobState = JobState.FAILED, seconds: int = 0) -> None:
        """Let one more pilot end as accounting has it, and as Parsl has it."""
        block = str(len(self.status_facade))
        job_id = self.provider.submit("process_worker_pool.py", 1)
        how = {"state": known, "exit_code": None, "node_names": "nid001", "seconds": seconds}
        self.scheduler.jobs[job_id] = self.scheduler.jobs[job_id].model_copy(update=how)
        self.provider.manager._polled_at = float("-inf")
        self.blocks_to_job_id[block] = job_id
        self.status_facade[block] = JobStatus(seen)
        self.losses(self, self.status_facade)


@pytest.fixture
def blocks(tmp_path: Path) -> Blocks:
    return Blocks(tmp_path)


@pytest.mark.parametrize("how", [State.NODE_FAIL, State.PREEMPTED, State.CANCELLED, State.FAILED])
def test_pilots_are_replaced_a_bounded_number_of_times(blocks: Blocks, how: State) -> None:
    most = blocks.losses.most_lost
    assert most == MOST_LOST * blocks.provider.max_blocks
    for number in range(1, most):
        blocks.end(how)
        assert blocks.error is None
        assert (
            f"ended {how} on nid001. Another one replaces it: loss {number}"
            in blocks.losses.news[-1]
        )
    blocks.end(how)
    assert f"{most} were lost in a row and nothing was finished" in str(blocks.error)
    assert ".log, ends:" in str(blocks.error)


def test_a_loss_after_something_was_finished_counts_as_the_first(blocks: Blocks) -> None:
    plan = blocks.provider.manager.plan
    step = next(step for step in plan.steps if step.in_pilot)
    for number in range(3 * blocks.losses.most_lost):
        blocks.end(State.PREEMPTED)
        part = plan.run.task(step.task.key).parts / f"{number}.json"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    assert blocks.error is None


def test_normal_ends_and_those_that_parsl_ordered_count_for_nothing(blocks: Blocks) -> None:
    for _ in range(3 * blocks.losses.most_lost):
        blocks.end(State.TIMEOUT, JobState.TIMEOUT)
        blocks.end(State.COMPLETED, JobState.COMPLETED, seconds=20_000)
        blocks.end(State.CANCELLED, JobState.SCALED_IN)
    assert not blocks.losses.news
    assert blocks.error is None


def test_pilots_that_leave_at_once_are_not_replaced_for_ever(blocks: Blocks) -> None:
    """As they do where the clocks of login and compute nodes are ten minutes apart."""
    for _ in range(blocks.losses.most_lost - 1):
        blocks.end(State.COMPLETED, JobState.COMPLETED, seconds=12)
        assert blocks.error is None
    blocks.end(State.COMPLETED, JobState.COMPLETED, seconds=12)
    assert "were lost in a row and nothing was finished" in str(blocks.error)


def test_the_next_jobs_avoid_the_node_that_failed_under_a_pilot(blocks: Blocks) -> None:
    blocks.end(State.NODE_FAIL)
    job = blocks.provider.manager.plan.pilot(["x"], 9, PILOT)
    blocks.provider.manager.submit(job, stage=PILOT, task_key=PILOT)
    assert "--exclude=nid001" in blocks.scheduler.scripts[job.key]


def test_pilots_that_work_go_on_where_no_more_can_be_started(blocks: Blocks) -> None:
    blocks.status_facade["running"] = JobStatus(JobState.RUNNING)
    no_hours = "Failed to start block {}: no hours".format
    blocks.status_facade["refused"] = JobStatus(JobState.FAILED, no_hours(1))
    blocks.losses(blocks, blocks.status_facade)
    assert blocks.error is None
    assert blocks.losses.news.pop() == f"{no_hours(1)}\nPilots that work go on: 1."
    assert blocks.provider.max_blocks == 1
    blocks.status_facade["running"] = JobStatus(JobState.SCALED_IN)
    blocks.status_facade["again"] = JobStatus(JobState.FAILED, no_hours(2))
    blocks.losses(blocks, blocks.status_facade)
    assert str(blocks.error) == no_hours(2)


def test_a_task_that_loses_every_pilot_says_so(tmp_path: Path) -> None:
    manager = local_manager(tmp_path)
    step = next(step for step in manager.plan.steps if step.in_pilot)
    message = graph.problem(step, manager, ManagerLost(b"a", "nid7"))
    assert "lost its pilot in each of 3 tries, the last on nid7" in message
    assert "Its log, " in message


def test_the_message_of_failed_pilots_is_not_wrapped(tmp_path: Path) -> None:
    manager = local_manager(tmp_path)
    step = next(step for step in manager.plan.steps if step.in_pilot)
    error = BadStateException(SimpleNamespace(label="pilot"), ValueError("why"))
    assert graph.problem(step, manager, error) == "why"


def test_one_log_is_shown_once(tmp_path: Path) -> None:
    from pipeline.workflow.controller import _problems

    manager = local_manager(tmp_path)
    plan = manager.plan
    failed: dict[str, Future[None]] = {step.task.key: Future() for step in plan.steps}
    for future in failed.values():
        future.set_exception(RuntimeError("ended.\n    line"))
    watchers = SimpleNamespace(errors={})
    lines = _problems(plan, manager, failed, watchers, lambda _step, _manager, error: str(error))  # type: ignore[arg-type]
    first, *others = (step.task.key for step in plan.steps)
    assert lines == [
        f"{first}: ended.\n    line",
        *(f"{key}: the same as {first}" for key in others),
    ]
