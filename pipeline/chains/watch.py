"""Watch the chains of batch jobs until their tasks are done or have failed, all in one thread."""

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property

from pipeline import clock, records
from pipeline.chains import history, link_settings
from pipeline.chains.back_off import BackOff
from pipeline.chains.history import Link, Over
from pipeline.chains.job_manager import JobManager
from pipeline.chains.liveness import Liveness
from pipeline.chains.outcomes import (
    diverged,
    end_of_chain,
    liveness,
    record_end,
    saved,
    stop_request,
)
from pipeline.chains.submission import NoHoursError
from pipeline.job import Job, JobStatus, State
from pipeline.outcome import RunError, named
from pipeline.planning import truth
from pipeline.planning.plan import Step
from pipeline.records import Ending
from pipeline.run import TaskFolder
from pipeline.scheduler import NotNowError

HEARTBEAT_CHECKS = 8  # per `hang_seconds`


class TaskError(RunError):
    """A task ended without its product; the message says why and where its log is."""

    def __init__(self, message: str, outcome: str = "error") -> None:
        super().__init__(message)
        self.outcome = outcome


@dataclass
class Chain:
    """One training's chain, as a controller sees it; its state is on disk.

    Links submit each other, or this controller submits them; each finds what the other has done.

    Attributes:
        step: The training in the plan.
        manager: Submits and polls the jobs.
        submitted_ids: The jobs that this controller submitted or found.
        begun: The numbers of the links that this controller began.
        watched: The link that is watched, and its job's id.
        requested: The link that is to be submitted as a part of a bundle.
        checked_at: When the heartbeat was last checked.
        judge: Checks the heartbeat of the watched link.
        has_settings: Whether the link settings are written.
        is_refused: Whether the queue refused its job; until a retry, nothing is looked up.
    """

    step: Step
    manager: JobManager
    submitted_ids: set[str] = field(default_factory=set)
    begun: set[int] = field(default_factory=set)
    watched: tuple[Link, str] | None = None
    requested: Link | None = None
    checked_at: float = 0.0
    judge: tuple[int, Liveness] | None = None
    has_settings: bool = False
    is_refused: bool = False

    @cached_property
    def folder(self) -> TaskFolder:
        """The task's folder."""
        return self.manager.plan.run.task(self.step.task.key)

    @cached_property
    def guard_delay(self) -> BackOff:
        """The back-off after the guard refused a reservation."""
        return BackOff(self.manager.plan.site.poll_seconds)

    @property
    def is_open(self) -> bool:
        """Whether the end of its newest link is not recorded."""
        link = history.newest(self.folder)
        return link is not None and link.is_open

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do: its job is pending, or a refused one must wait."""
        if self.watched is not None:
            return self.manager.is_pending(self.watched[1])
        return self.is_refused and (self.manager.is_full or self.guard_delay.holds)

    def advance(self) -> bool:
        """Take the next step of the chain without waiting; return whether the task is done.

        Raises:
            TaskError: No link can follow the last one, the chain makes no progress, or a stop
                request exists.
            NotNowError: The queue is full, or the scheduler does not answer: call again later.
        """
        if (self.watched is None or self.step.bundle) and self.folder.is_done and not self.is_open:
            return True
        if self.watched is not None:
            return self._poll(*self.watched)
        if self.requested is not None:
            self._check_may_begin()
            return False
        return self._continue()

    def _continue(self) -> bool:
        """Watch the open link, or begin the next one; return whether the task is done."""
        over = history.over(self.folder)
        if over is not None and history.report(self.folder, over) and not self._is_cured(over):
            raise _error(over)
        link = history.newest(self.folder)
        if link is not None and link.is_open:
            return self._watch(link)
        if link is not None and end_of_chain(self.step, self.manager) is not None:
            return False
        self._begin()
        return False

    def _is_cured(self, over: Over) -> bool:
        """Whether the user has removed the cause of this end of the chain, though unreported.

        A full disk ends the controller too, before it could report anything.
        """
        return named(over.outcome).outside and over.number not in self.begun

    def _begin(self) -> None:
        """Record the next link and submit it, unless the link before has submitted it."""
        self._check_may_begin()
        if not self.has_settings:
            link_settings.write(self.manager.plan, self.step)
            self.has_settings = True
        # The ledger may still wait for the job of a link that has recorded its own end, of the
        # chain that the user was told the end of, too.
        after = history.last_number(self.folder) + 1
        number = max(self.manager.next_number(self.step.task.key), after)
        history.begin(self.folder, number, saved(self.folder))
        self.begun.add(number)
        self.advance()

    def _check_may_begin(self) -> None:
        """Check that another link may be submitted.

        Raises:
            TaskError: A stop request exists, the training has diverged, or its data, staged by now,
                has not what it learns.
        """
        request = stop_request(self.step, self.manager)
        if request:
            raise TaskError(request, "stopped")
        message = diverged(self.folder)
        if message:
            raise TaskError(message, "diverged")
        message = truth.lacking(self.step.task)
        if message:
            raise TaskError(message, "bad_input")
        result = records.read(self.folder.result, Ending)
        if result is not None and not result.is_finished:
            self.folder.result.unlink()  # an earlier link's record must not pass for the next one's

    def _watch(self, link: Link) -> bool:
        """Submit the job of `link` if necessary and poll it; return whether the task is done."""
        job = self.manager.plan.link(self.step, link.number)
        account = self.manager.ledger.accounts().get(job.key)
        if self.step.bundle and (account is None or not account.job_id):
            self.requested = link
            return False
        if account is None or account.end is None:
            self.is_refused = True
            job_id = self._submit(job)
            self.is_refused = False
            self.submitted_ids.add(job_id)
        else:
            job_id = account.job_id
        self.watched = (link, job_id)
        return self._poll(link, job_id)

    def _submit(self, job: Job) -> str:
        """Submit the job of a link and return its id; a refusal by the guard starts a back-off."""
        try:
            return self.manager.submit(job, stage=self.step.task.stage, task_key=self.step.task.key)
        except NoHoursError as error:
            self.guard_delay.refused(error)
            raise

    def submitted(self, job_id: str) -> None:
        """Watch the job `job_id`, of which the requested link is a part."""
        if self.requested is not None:
            self.submitted_ids.add(job_id)
            self.watched, self.requested = (self.requested, job_id), None

    def _poll(self, link: Link, job_id: str) -> bool:
        """Poll the job of `link`, and record its end; return whether the task is done."""
        status = self.manager.status(job_id)
        if self.manager.is_lost(job_id):
            self.manager.record_lost([job_id])
            status = status.failed() if status.is_gone else status
        elif status.state.is_over:
            self.manager.settle([job_id])
        else:
            if self._has_hung(link, status):
                self.manager.request_cancel([job_id])
            return False
        self.watched = None
        self._end(link, status)
        return self.folder.is_done

    def _has_hung(self, link: Link, status: JobStatus) -> bool:
        """Whether the job's heartbeat has stopped; checked rarely, since that reads a file."""
        if self.judge is None or self.judge[0] != link.number:
            self.judge = link.number, liveness(self.step, self.manager, link.number)
        judge, now = self.judge[1], self.manager.now()
        if status.state is State.RUNNING:
            if now - self.checked_at < judge.seconds / HEARTBEAT_CHECKS:
                return False
            self.checked_at = now
        return judge(status, now)

    def _end(self, link: Link, status: JobStatus) -> None:
        """Record how the job of `link` ended."""
        if self.folder.is_done:
            history.end(self.folder, link.number, "finished", progressed=True)
        elif status.state is State.CANCELLED and status.id not in self.submitted_ids:
            history.end(self.folder, link.number, history.WITHDRAWN, progressed=False)
        else:
            record_end(self.step, self.manager, link, status)


def _error(over: Over) -> TaskError:
    """Return the error for the end of a chain: its reason, message and outcome."""
    return TaskError(f"{over.reason}: {over.message}", over.outcome)


class Watchers:
    """All chains of a campaign, with a future for each, which is done when its task is.

    At most as many chains begin as the queue has room for.
    """

    def __init__(self, manager: JobManager) -> None:
        self.manager = manager
        self.errors: dict[str, BaseException] = {}
        self._waiting: deque[tuple[Chain, Future[None]]] = deque()
        self._active: list[tuple[Chain, Future[None]]] = []
        self._next_poll = 0.0
        self._coming = {step.task.key: step.bundle for step in manager.plan.steps if step.bundle}

    def add(self, step: Step) -> "Future[None]":
        """Watch the chain of `step`, which begins when the queue has room. Any thread may call."""
        self._coming.pop(step.task.key, None)
        chain, future = Chain(step, self.manager), Future[None]()
        if chain.is_open:
            self._waiting.appendleft((chain, future))
        else:
            self._waiting.append((chain, future))
        return future

    def forget(self, keys: Iterable[str]) -> None:
        """Stop waiting for these tasks to join their bundles, since a task they need has failed."""
        for key in keys:
            self._coming.pop(key, None)

    def advance(self) -> None:
        """Advance every chain, at most once in half a polling interval."""
        if clock.monotonic() < self._next_poll:
            return
        self.manager.poll()
        self._active = [
            watched for watched in self._active if watched[0].is_idle or self._continues(*watched)
        ]
        self._begin_waiting()
        names = {chain.step.bundle for chain, _ in self._active if chain.requested is not None}
        for name in sorted(names):
            self._submit_bundle(name)
        self._next_poll = clock.monotonic() + self.manager.plan.site.poll_seconds / 2

    def _begin_waiting(self) -> None:
        """Begin the waiting chains whose queues have room; those with an open link are first."""
        kept: list[tuple[Chain, Future[None]]] = []
        full: set[str] = set()
        for _ in range(len(self._waiting)):
            watched = self._waiting.popleft()
            chain, queue = watched[0], watched[0].step.qos
            if queue not in full and (chain.is_open or self.manager.room(queue) > 0):
                if self._continues(*watched):
                    self._active.append(watched)
            else:
                full.add(queue)
                kept.append(watched)
        self._waiting.extendleft(reversed(kept))

    def _submit_bundle(self, name: str) -> None:
        """Submit the requested links of a bundle as one job, once no other link can join."""
        members = [
            (chain, chain.requested, future)
            for chain, future in self._active
            if chain.step.bundle == name and chain.requested is not None
        ]
        if self._may_grow(name) or self.manager.room(members[0][0].step.qos) <= 0:
            return
        links = [(chain.step, link.number) for chain, link, _ in members]
        try:
            job_id = self.manager.submit_links(links)
        except NotNowError:
            return
        except Exception as error:  # noqa: BLE001 - the futures report it
            for chain, _, future in members:
                self._fail(chain, future, error)
                self._active.remove((chain, future))
            return
        for chain, _, _ in members:
            chain.submitted(job_id)

    def _may_grow(self, name: str) -> bool:
        """Whether a link that has not begun may still join the bundle."""
        is_waiting = any(chain.step.bundle == name for chain, _ in self._waiting)
        return is_waiting or name in self._coming.values()

    def _fail(self, chain: Chain, future: "Future[None]", error: BaseException) -> None:
        """Record the error of a chain, and set it on its future."""
        self.errors[chain.step.task.key] = error
        future.set_exception(error)

    def _continues(self, chain: Chain, future: "Future[None]") -> bool:
        """Advance one chain; return whether it has to be advanced again."""
        try:
            done = chain.advance()
        except NotNowError:
            return True
        except Exception as error:  # noqa: BLE001 - the future reports it
            self._fail(chain, future, error)
            return False
        if done:
            future.set_result(None)
        return not done
