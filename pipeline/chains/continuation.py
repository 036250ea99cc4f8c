"""The program by which a link submits the next one: `python -m pipeline.chains.continuation`.

Its batch script calls it twice: `begin` before the training starts, and `end` after it ended by
itself. So a chain continues without a controller, however a link ends: the next link is already in
the queue, waits for the end, and records the outcome if this link could not.

In a bundle several links begin together and each ends by itself (`judge`); when all have ended, the
next job is adapted to those that continue (`onward`).
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline import clock
from pipeline.budget.account import Account
from pipeline.chains import history, link_settings
from pipeline.chains.job_manager import JobManager
from pipeline.chains.outcomes import end_of_chain, record_end, saved, stop_request
from pipeline.chains.settlement import record_own_end, settle_links
from pipeline.job import JobHandle, JobStatus, State, batch_job_id
from pipeline.outcome import Exit, RunError
from pipeline.planning.plan import Step
from pipeline.run import TaskFolder
from pipeline.scheduler import NotNowError, SchedulerError, connect

Link = tuple[Step, int]

WANTED, NOTHING_TO_DO = Exit.FINISHED, Exit.BUSY
SETTLE_SECONDS = 120  # accounting may lag behind the end that let this job start


def begin(folder: TaskFolder, number: int) -> Exit:
    """Return whether link `number` is to run; if so, submit the next, which waits for its end."""
    return WANTED if begin_together([(folder, number)]) else NOTHING_TO_DO


def begin_together(links: Sequence[tuple[TaskFolder, int]]) -> list[int]:
    """Return the positions, from 1, of the links of this job that are to run."""
    manager, known = _manager(links)
    return begin_links(manager, known, this_job(manager, *known[0]))


def begin_links(manager: JobManager, known: Sequence[Link], mine: str) -> list[int]:
    """Return the positions, from 1, of the links of the job `mine` that are to run.

    The next job is for those of them that belong to chains.
    """
    problem = settle_links(manager, {step.task.key for step, _ in known}, mine)
    if problem:
        _say(f"the end of the link before is not settled: {problem}")
    job = manager.plan.bundle(known)
    held = zip(known, job.held_nodes or [job.nodes], strict=True)
    wanted = [each for each, nodes in held if _is_wanted(*each, manager, mine, nodes)]
    chained = [each for each in wanted if each[0].chained]
    if chained:
        _submit_next(chained, manager, mine)
    return [known.index(each) + 1 for each in wanted]


def _is_wanted(step: Step, number: int, manager: JobManager, mine: str, nodes: float) -> bool:
    """Whether link `number` is to run, in the job `mine`; if not, the log says why.

    It is charged for `nodes` of the job.
    """
    task = step.task
    holder = history.hold(manager.plan.run.task(task.key), number, mine)
    if holder != mine:
        job, batch = manager.plan.link(step, number), os.environ.get("COSMOTRON_JOB_KEY", "")
        shared = batch if step.bundle and batch != job.key else ""
        known_as = {"stage": task.stage, "task_key": task.key, "batch_key": shared}
        manager.record_duplicate(job, mine, **known_as, nodes=nodes)
        reason = f"job {holder} runs link {number} already; this job is a duplicate"
    else:
        reason = _unwanted(step, manager, number)
    if reason:
        _say(f"{task.key}: nothing to do: {reason}")
    return not reason


def end(folder: TaskFolder, number: int, code: int) -> Exit:
    """Judge link `number`, which ended by itself with `code`; let go of the next if none is to be.

    The scheduler may have killed the process: then the next link queries it for the reason.
    """
    manager, [link] = _manager([(folder, number)])
    mine = this_job(manager, *link)
    record_own_end(manager, *link, mine, code)
    end_link(manager, link, mine, code)
    return WANTED


def end_link(manager: JobManager, link: Link, mine: str, code: int) -> None:
    """Record the end of a link of the job `mine`, as `end` does."""
    step, _ = link
    if code == Exit.SUPERSEDED:
        return  # another process works on it, and its end is for that one to record
    if code > 128 and not manager.plan.run.task(step.task.key).is_done:
        return
    record_link_end(manager, link, mine, code)
    if not _goes_on(step, manager):
        _release_next([link], manager)


def record_part_end(folder: TaskFolder, number: int, code: int) -> Exit:
    """Judge link `number`, a part of a bundle: of it the scheduler knows nothing to ask for."""
    manager, [link] = _manager([(folder, number)])
    mine = this_job(manager, *link)
    record_own_end(manager, *link, mine, code)
    if code != Exit.SUPERSEDED:
        record_link_end(manager, link, mine, code)
    return WANTED


def onward(links: Sequence[tuple[TaskFolder, int]]) -> Exit:
    """Adapt the next job of a bundle to the links that continue, if necessary."""
    manager, known = _manager(links)
    continue_links(manager, known, this_job(manager, *known[0]))
    return WANTED


def continue_links(manager: JobManager, known: Sequence[Link], mine: str) -> None:
    """Adapt the next job to the links of the job `mine`, as `onward` does."""
    going = [each for each in known if _goes_on(each[0], manager)]
    waiting = _waiting(known, manager)
    if [step.task.key for step, _ in going] == [each.task for each in waiting]:
        return
    _release_next(known, manager)
    if going:  # a number belongs to one job for ever
        later = [(step, number + bool(waiting)) for step, number in going]
        _submit_next(later, manager, mine)


def record_link_end(manager: JobManager, of_job: Link, mine: str, code: int) -> None:
    """Note how a link of the job `mine` ended: by itself, with `code`."""
    step, number = of_job
    folder = manager.plan.run.task(step.task.key)
    if folder.is_done:
        history.end(folder, number, "finished", progressed=True)
        return
    link = next((each for each in history.read(folder) if each.number == number), None)
    if link is None:
        return
    state = State.FAILED if code else State.COMPLETED
    status = JobStatus(
        id=mine,
        key="",
        state=state,
        exit_code=code,
        end=int(clock.time()),
        node_names=os.environ.get("COSMOTRON_NODE_NAMES", ""),
    )
    record_end(step, manager, link, status)


def _goes_on(step: Step, manager: JobManager) -> bool:
    """Whether another link of a training is wanted."""
    folder = manager.plan.run.task(step.task.key)
    return not (folder.is_done or history.over(folder) or stop_request(step, manager))


def this_job(manager: JobManager, step: Step, number: int) -> str:
    """Return the id of the job that this process runs in; outside of one, the key of its link."""
    return batch_job_id() or manager.plan.link(step, number).key


def _manager(links: Sequence[tuple[TaskFolder, int]]) -> tuple[JobManager, list[Link]]:
    """Return the job manager of the links' campaign, and the links as (step, number)."""
    settings = [link_settings.read(folder) for folder, _ in links]
    steps = [step for _, step in settings]
    plan = replace(settings[0][0], steps=steps)
    numbers = (number for _, number in links)
    return JobManager(plan, connect(plan.site, plan.run)), list(zip(steps, numbers, strict=True))


def _unwanted(step: Step, manager: JobManager, number: int) -> str:
    """Return why link `number` is not to run, empty if it is; what ended before it is judged."""
    folder = manager.plan.run.task(step.task.key)
    if folder.is_done:
        return "the task is done"
    request = stop_request(step, manager)
    if request:
        return request
    if any(link.number == number for link in history.read(folder)):
        return ""
    over = history.over(folder) or _record_end_before(step, manager)
    if over is not None:
        return f"the chain is over: {over.reason}"
    history.begin(folder, number, saved(folder))
    folder.result.unlink(missing_ok=True)  # what an earlier link recorded is not this one's
    return ""


def _record_end_before(step: Step, manager: JobManager) -> history.Over | None:
    """Judge the link before, if nobody has; return why the chain is over, None if it goes on."""
    links = history.read(manager.plan.run.task(step.task.key))
    if not links or not links[-1].is_open:
        return end_of_chain(step, manager)
    account = manager.ledger.accounts()[manager.plan.link(step, links[-1].number).key]
    return record_end(step, manager, links[-1], _ended(manager, account.handle))


def _ended(manager: JobManager, job: JobHandle) -> JobStatus:
    """Return how the job before ended.

    A requeued job counts as ended: this link continues from its checkpoint and cancels it.

    Raises:
        RunError: The job runs, or accounting does not know it.
    """
    deadline = clock.monotonic() + SETTLE_SECONDS
    while clock.monotonic() < deadline:
        status = _queried(manager, job)
        if status.state is State.PENDING:
            manager.scheduler.cancel([job])
            return status.model_copy(update={"state": State.PREEMPTED})
        if status.state.is_over:
            manager.settle([job.id])
            return status
        if status.is_gone:
            manager.record_lost([job.id])
            return status.failed()
        clock.sleep(min(5, manager.plan.site.poll_seconds))
    why = f"{status.state}; {status.reason}" if status.reason else status.state
    message = f"job {job.id}, the link before, is {why}, so this link does nothing."
    raise RunError(message)


def _queried(manager: JobManager, job: JobHandle) -> JobStatus:
    try:
        return manager.scheduler.query([job])[job]
    except NotNowError:
        return JobStatus(id=job.id, key="", state=State.UNKNOWN)


def _submit_next(links: Sequence[Link], manager: JobManager, mine: str) -> None:
    """Submit the links after `links`, to start when job `mine` is over; a full queue is no error.

    A chain that has reached its limit of links is left out.
    """
    plan = manager.plan
    later = [
        (step, number + 1)
        for step, number in links
        if len(history.read(plan.run.task(step.task.key))) < step.most_links
    ]
    if not later:
        return
    names = ", ".join(f"link {number} of {step.task.key}" for step, number in later)
    try:
        job_id = manager.submit_links(later, after=mine)
    except (SchedulerError, RunError) as error:
        _say(f"{names}: left to the controller: {error}")
        return
    _say(f"{names}: job {job_id}, which waits for the end of job {mine}")


def _waiting(links: Sequence[Link], manager: JobManager) -> list[Account]:
    """Return the accounts of the links after `links` that are submitted and not over."""
    accounts = manager.ledger.accounts()
    found = (accounts.get(manager.plan.link(step, number + 1).key) for step, number in links)
    return [each for each in found if each is not None and each.end is None]


def _release_next(links: Sequence[Link], manager: JobManager) -> None:
    """Cancel the pending jobs of the links after `links`, which are not needed."""
    found = {each.known_as: each.handle for each in _waiting(links, manager)}
    jobs = [_submitted(manager, each) for each in found.values()]
    wanted = [each for each in jobs if each is not None]
    if wanted:
        manager.scheduler.cancel(wanted)
        names = ", ".join(sorted(each.id for each in wanted))
        _say(f"job {names} of the next link is not needed and was cancelled")


def _submitted(manager: JobManager, job: JobHandle) -> JobHandle | None:
    """Return `job` with its id, which the scheduler knows if nobody recorded it; None if no job."""
    job_id = job.id or manager.scheduler.find(job.key, job.since)
    return replace(job, id=job_id) if job_id else None


def _say(message: str) -> None:
    """Write `message` to the job's log by stderr; the script reads stdout."""
    sys.stderr.write(f"cosmotron: {message}\n")
    sys.stderr.flush()


def main(verb: str, *words: str) -> Exit:
    """Run `begin` or `onward` FOLDER NUMBER …, `end` or `judge` FOLDER NUMBER CODE."""
    pairs = zip(words[::2], words[1::2], strict=False)
    links = [(TaskFolder(Path(path)), int(number)) for path, number in pairs]
    path = words[0]
    try:
        if verb == "begin":
            wanted = begin_together(links)
            sys.stdout.write(" ".join(map(str, wanted)) + "\n" if len(links) > 1 else "")
            return WANTED if wanted else NOTHING_TO_DO
        if verb == "onward":
            return onward(links)
        return (end if verb == "end" else record_part_end)(*links[0], int(words[2]))
    except link_settings.NotPreparedError as error:
        _say(f"{verb}: {error}")
        return Exit.BAD_INPUT
    except (RunError, SchedulerError) as error:
        _say(f"{verb}: {error}")
        return NOTHING_TO_DO
    except OSError as error:
        _say(
            f"{verb}: {error.filename or path}: {error.strerror}. "
            "Free some space there, then run again."
        )
        return Exit.CANNOT_WRITE


if __name__ == "__main__":
    raise SystemExit(int(main(*sys.argv[1:])))
