"""Pilots that end before their work is done: replaced, a bounded number of times, and shown.

Parsl's own handler fails every task as soon as all pilots so far have failed, be it the first one.
"""

from collections import deque
from typing import Any

from parsl.jobs.states import JobState, JobStatus

from pipeline import job as jobs
from pipeline.chains import node_exclusion
from pipeline.chains.outcomes import saved, with_log
from pipeline.job import State
from pipeline.outcome import RunError
from pipeline.workflow.provider import PilotProvider

# Pilots in a row that ended before a worker of theirs reported: each may have waited for hours in
# the queue, and what fails three times on three occasions is the environment, not a node.
MOST_FAILED_STARTS = 3
# Losses of pilots at work in a row, for each pilot that may run at once, without a task that ended
# or saved in between: as often as a task is tried. One power cut takes them all at once.
MOST_LOST = 3

# A pilot ends by itself when it has drained, late in its walltime. One that completes before this
# share of it has lost its controller: its successors may do so too, again and again.
LEAST_SHARE = 0.5
FROM_OUTSIDE = (State.PREEMPTED, State.NODE_FAIL, State.CANCELLED)


class PilotError(RunError):
    """No more pilots are submitted; the message says why, and has the end of the last one's log."""


class Losses:
    """Decides about the ended pilots of one kind, as Parsl's handler of block errors.

    `news` has the lines for the screen that nobody has read yet.
    """

    def __init__(self, provider: PilotProvider) -> None:
        self.provider = provider
        self.news: deque[str] = deque()
        self._seen: set[str] = set()
        self._progress: object = None
        self._failed_starts = self._lost = 0

    def __call__(self, executor: Any, status: dict[str, JobStatus]) -> None:
        """Consider the blocks of `executor` that have ended since the last call."""
        for block, ended in status.items():
            if ended.terminal and block not in self._seen:
                self._seen.add(block)
                self._consider(executor, block, ended)

    def _consider(self, executor: Any, block: str, ended: JobStatus) -> None:
        """Consider one block: a normal end, and one that Parsl ordered, count for nothing."""
        job_id = executor.blocks_to_job_id.get(block)
        if job_id is None:
            self._end(executor, str(ended.message))
            return
        known = self.provider.of(job_id)
        began = ended.state != JobState.MISSING
        if ended.state == JobState.SCALED_IN or (began and self._is_normal(known)):
            return
        self._count(began or known.state in FROM_OUTSIDE)
        self._exclude(known)
        what = self._described(known, began=began)
        if self._failed_starts >= MOST_FAILED_STARTS or self._lost >= self.most_lost:
            self._end(executor, self._why(known, what))
        else:
            self.news.append(f"{what} Another one replaces it: {self._counted()}.")

    def _is_normal(self, known: jobs.JobStatus) -> bool:
        """Return whether a pilot drained, or worked until its walltime."""
        minutes = self.provider.manager.plan.pilots(self.provider.kind).walltime_minutes
        least = LEAST_SHARE * 60 * minutes
        drained = known.state is State.COMPLETED and known.seconds >= least
        return drained or known.state is State.TIMEOUT

    @property
    def most_lost(self) -> int:
        """The most losses in a row of pilots at work."""
        return MOST_LOST * self.provider.manager.plan.pilots(self.provider.kind).max_blocks

    def _count(self, at_work: bool) -> None:
        """Count a loss; the count begins again where something was finished since the last one."""
        progress = self._progressed()
        if progress != self._progress:
            self._progress, self._failed_starts, self._lost = progress, 0, 0
        if at_work:
            self._lost += 1
        else:
            self._failed_starts += 1

    def _progressed(self) -> object:
        """Return what the tasks in pilots have finished or saved so far, to compare."""
        plan = self.provider.manager.plan
        folders = [plan.run.task(step.task.key) for step in plan.steps if step.in_pilot]
        return [(folder.is_done, saved(folder)) for folder in folders]

    def _exclude(self, known: jobs.JobStatus) -> None:
        """Let the next jobs avoid a node that failed."""
        if known.state is State.NODE_FAIL:
            manager = self.provider.manager
            nodes = manager.scheduler.hosts(known.node_names)
            node_exclusion.note(manager.plan.run, known.id, known.state, nodes)

    def _described(self, known: jobs.JobStatus, *, began: bool) -> str:
        """Return how a pilot ended, as a sentence."""
        code = "" if known.exit_code is None else f" with exit code {known.exit_code}"
        reason = f" ({known.reason})" if known.reason else ""
        nodes = f" on {known.node_names}" if known.node_names else ""
        early = "" if began else ", before a worker of it reported"
        return f"Pilot {known.id} ended {known.state}{code}{reason}{nodes}{early}."

    def _counted(self) -> str:
        """Return which loss in a row this is, of how many that are replaced."""
        if self._failed_starts:
            return f"start {self._failed_starts + 1} of {MOST_FAILED_STARTS}"
        return f"loss {self._lost} of fewer than {self.most_lost} with nothing finished in between"

    def _why(self, known: jobs.JobStatus, what: str) -> str:
        """Return why no pilot follows, with the end of the last one's log."""
        site = self.provider.manager.plan.site.name
        if self._failed_starts >= MOST_FAILED_STARTS:
            why = (
                f"{what} {self._failed_starts} in a row did, so no more are submitted. Do its "
                "modules, its Python and the address of this machine work on compute nodes? "
                f"`cosmotron sites check {site} --job` tells; then run again: it resumes"
            )
        else:
            why = (
                f"{what} {self._lost} were lost in a row and nothing was finished in between, so "
                "no more are submitted. Does a task exhaust the memory of a node? Run again: it "
                "resumes"
            )
        job = self.provider.jobs.get(known.id)
        return why + "." if job is None else with_log(why, job.log)

    def _end(self, executor: Any, why: str) -> None:
        """Replace no more pilots; fail the tasks if none is left that works on them."""
        living = sum(not each.terminal for each in executor.status_facade.values())
        if living:
            self.provider.max_blocks = living
            self.news.append(f"{why}\nPilots that work go on: {living}.")
        else:
            executor.set_bad_state_and_fail_all(PilotError(why))
