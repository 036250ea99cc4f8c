"""Watch the chains of batch jobs to their ends: from one place, however many there are."""

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
from pipeline.chains.outcomes import (
    diverged,
    end_of_chain,
    liveness,
    record_end,
    saved,
    stop_request,
)
from pipeline.chains.submission import NoHoursError, Share
from pipeline.job import Job, JobStatus, State
from pipeline.outcome import RunError
from pipeline.planning.plan import Step
from pipeline.records import Ending
from pipeline.run import TaskFolder
from pipeline.scheduler import NotNowError

LISTENS = 8  # how often in `hang_seconds` a job's sign of life is looked for


class TaskError(RunError):
    """A task ended without its product; the message says why and where its log is."""

    def __init__(self, message: str, outcome: str = "error") -> None:
        super().__init__(message)
        self.outcome = outcome


@dataclass
class Chain:
    """One training's chain, as a controller sees it: all that is known lies on disk.

    Links submit each other, or this controller does; either finds what the other has done.
    """

    step: Step
    manager: JobManager
    seen: set[str] = field(default_factory=set)
    at: tuple[Link, str] | None = None  # the link that is watched and its job, once known
    wanted: Link | None = None  # the link that is to be submitted as a part of a bundle
    listened_at: float = 0.0
    has_settings: bool = False
    is_refused: bool = False  # the queue did not take its job; until it may, nothing is looked up

    @cached_property
    def folder(self) -> TaskFolder:
        """The task's folder."""
        return self.manager.plan.run.task(self.step.task.key)

    @cached_property
    def patience(self) -> BackOff:
        """Keeps it from asking the guard again and again."""
        return BackOff(self.manager.plan.site.poll_seconds)

    @property
    def is_open(self) -> bool:
        """Whether it has a link that nobody has seen end."""
        link = history.newest(self.folder)
        return link is not None and link.is_open

    @property
    def rests(self) -> bool:
        """Whether nothing is to be done: its job waits, or none may be submitted just now."""
        if self.at is not None:
            return self.manager.is_pending(self.at[1])
        return self.is_refused and (self.manager.is_full or self.patience.holds)

    def advance(self) -> bool:
        """Do what is to be done next, which never waits; return whether the task is done.

        Raises:
            TaskError: A link ended in a way that no other continues, the chain makes no progress,
                or somebody ordered it to stop.
            NotNowError: The queue is full, or the scheduler does not answer; nothing is lost.
        """
        if (self.at is None or self.step.bundle) and self.folder.is_done and not self.is_open:
            return True
        if self.at is not None:
            return self._look(*self.at)
        if self.wanted is not None:
            self._check_may_begin()
            return False
        return self._go_on()

    def _go_on(self) -> bool:
        """Take up the link that is open, or begin the next one; return whether the task is done."""
        over = history.over(self.folder)
        if over is not None and history.report(self.folder, over):
            raise _error(over)
        link = history.newest(self.folder)
        if link is not None and link.is_open:
            return self._watch(link)
        if link is not None and end_of_chain(self.step, self.manager) is not None:
            return False
        self._begin()
        return False

    def _begin(self) -> None:
        """Note the next link; it is submitted then, unless the one before has done that."""
        self._check_may_begin()
        if not self.has_settings:
            link_settings.write(self.manager.plan, self.step)
            self.has_settings = True
        number = self.manager.next_number(self.step.task.key)
        history.begin(self.folder, number, saved(self.folder))
        self.advance()

    def _check_may_begin(self) -> None:
        """Check that another link may be submitted.

        Raises:
            TaskError: Somebody ordered the task or the run to stop, or the training has diverged.
        """
        standing = stop_request(self.step, self.manager)
        if standing:
            raise TaskError(standing, "stopped")
        told = diverged(self.folder)
        if told:
            raise TaskError(told, "diverged")
        result = records.read(self.folder.result, Ending)
        if result is not None and not result.is_finished:
            self.folder.result.unlink()  # what an earlier link recorded is not the next one's

    def _watch(self, link: Link) -> bool:
        """Submit the job of `link`, or look how it is; return whether the task is done."""
        job = self.manager.plan.link(self.step, link.number)
        account = self.manager.ledger.accounts().get(job.key)
        if self.step.bundle and (account is None or not account.job_id):
            self.wanted = link
            return False
        if account is None or account.end is None:
            self.is_refused = True
            job_id = self._submit(job)
            self.is_refused = False
            self.seen.add(job_id)
        else:
            job_id = account.job_id
        self.at = (link, job_id)
        return self._look(link, job_id)

    def _submit(self, job: Job) -> str:
        """Submit the job of a link and return its id; where there is no room, rest for a while."""
        try:
            return self.manager.submit(job, stage=self.step.task.stage, task_key=self.step.task.key)
        except NoHoursError as error:
            self.patience.refused(error)
            raise

    def submitted(self, job_id: str) -> None:
        """Watch the job `job_id`, in which the wanted link was submitted as a part."""
        if self.wanted is not None:
            self.seen.add(job_id)
            self.at, self.wanted = (self.wanted, job_id), None

    def _look(self, link: Link, job_id: str) -> bool:
        """Look how the job of `link` is; return whether the task is done."""
        status = self.manager.status(job_id)
        if self.manager.is_lost(job_id):
            self.manager.record_lost([job_id])
        elif status.state.is_over:
            self.manager.settle([job_id])
        else:
            if self._is_silent(link, status):
                self.manager.scheduler.cancel([job_id])
            return False
        self.at = None
        self._end(link, status)
        return self.folder.is_done

    def _is_silent(self, link: Link, status: JobStatus) -> bool:
        """Whether the job gives no sign of life; asked now and then only, since that is a file."""
        if status.state is not State.RUNNING:
            return False
        seconds = self.step.task.training.hang_seconds  # type: ignore[union-attr] # only trainings are chained
        if self.manager.now() - self.listened_at < seconds / LISTENS:
            return False
        self.listened_at = self.manager.now()
        return liveness(self.step, self.manager, link.number)(status)

    def _end(self, link: Link, status: JobStatus) -> None:
        """Note how the job of `link` ended."""
        if self.folder.is_done:
            history.end(self.folder, link.number, "finished", progressed=True)
        elif status.state is State.CANCELLED and status.id not in self.seen:
            history.end(self.folder, link.number, history.WITHDRAWN, progressed=False)
        else:
            record_end(self.step, self.manager, link, status)


def _error(over: Over) -> TaskError:
    """Return the end of a chain: its class, and what is known of it."""
    return TaskError(f"{over.reason}: {over.message}", over.outcome)


class Watchers:
    """All chains of a campaign; a future for each, which is done when its task is.

    Of those that are ready so many are begun as the queue takes.
    """

    def __init__(self, manager: JobManager) -> None:
        self.manager = manager
        self.errors: dict[str, BaseException] = {}
        self._waiting: deque[tuple[Chain, Future[None]]] = deque()
        self._active: list[tuple[Chain, Future[None]]] = []
        self._next_look = 0.0
        self._coming = {step.task.key: step.bundle for step in manager.plan.steps if step.bundle}

    def add(self, step: Step) -> "Future[None]":
        """Watch the chain of `step`; it is begun when there is room. Any thread may add one."""
        self._coming.pop(step.task.key, None)
        watched = (Chain(step, self.manager), Future[None]())
        if watched[0].is_open:
            self._waiting.appendleft(watched)
        else:
            self._waiting.append(watched)
        return watched[1]

    def forget(self, keys: Iterable[str]) -> None:
        """Wait no longer for these to join their bundles: what they need has failed."""
        for key in keys:
            self._coming.pop(key, None)

    def advance(self) -> None:
        """Look at every chain, at most once in half a polling interval."""
        if clock.monotonic() < self._next_look:
            return
        self.manager.poll()
        self._active = [
            watched for watched in self._active if watched[0].rests or self._goes_on(*watched)
        ]
        while self._waiting and (self._waiting[0][0].is_open or self.manager.room() > 0):
            watched = self._waiting.popleft()
            if self._goes_on(*watched):
                self._active.append(watched)
        wanted = {chain.step.bundle for chain, _ in self._active if chain.wanted is not None}
        for name in sorted(wanted):
            self._submit_bundle(name)
        self._next_look = clock.monotonic() + self.manager.plan.site.poll_seconds / 2

    def _submit_bundle(self, name: str) -> None:
        """Submit the wanted links of a bundle as one job, if none can join any more."""
        ours = [each for each in self._active if each[0].step.bundle == name]
        begun = [each for each in ours if each[0].wanted is not None]
        joins = any(chain.step.bundle == name for chain, _ in self._waiting)
        if joins or name in self._coming.values() or self.manager.room() <= 0:
            return
        plan = self.manager.plan
        links = [(chain.step, chain.wanted.number) for chain, _ in begun if chain.wanted]
        shares = [Share(plan.link(*each), each[0].task.stage, each[0].task.key) for each in links]
        try:
            job_id = self.manager.submit_bundle(plan.bundle(links), shares)
        except NotNowError:
            return
        except Exception as error:  # noqa: BLE001 - it is the futures'
            for each in begun:
                self._fail(*each, error)
            self._active = [each for each in self._active if each not in begun]
            return
        for chain, _ in begun:
            chain.submitted(job_id)

    def _fail(self, chain: Chain, future: "Future[None]", error: BaseException) -> None:
        """Let the future of a chain tell its error."""
        self.errors[chain.step.task.key] = error
        future.set_exception(error)

    def _goes_on(self, chain: Chain, future: "Future[None]") -> bool:
        """Advance one chain; return whether it is to be looked at again."""
        try:
            done = chain.advance()
        except NotNowError:
            return True
        except Exception as error:  # noqa: BLE001 - it is the future's
            self._fail(chain, future, error)
            return False
        if done:
            future.set_result(None)
        return not done
