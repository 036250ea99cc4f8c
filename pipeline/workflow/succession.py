"""The program by which a link submits the next one: `python -m pipeline.workflow.succession`.

Its batch script calls it twice: `begin`, before the training starts, and `end`, after it ended by
itself. So a chain goes on while no controller is alive, and however a link ends: the next one is in
the queue already, waits for the end, and judges it where this link could not.
"""

import os
import sys
import time
from pathlib import Path

from pipeline.job import JobStatus, State
from pipeline.run import Exit, RunError, TaskFolder
from pipeline.scheduler import NotNowError, SchedulerError, connect
from pipeline.workflow import history, order
from pipeline.workflow.desk import Desk
from pipeline.workflow.judge import forbidden, judge, saved, verdict
from pipeline.workflow.plan import Step

WANTED, NOTHING_TO_DO = Exit.FINISHED, Exit.BUSY
SETTLE_SECONDS = 120  # accounting may lag behind the end that let this job start
JOB_ID = ("SLURM_JOB_ID", "PBS_JOBID")


def begin(folder: TaskFolder, number: int) -> Exit:
    """Say whether link `number` is to run; if so, submit the next one, which waits for its end."""
    step, desk = _desk(folder)
    mine = this_job(desk, step, number)
    holder = history.hold(folder, number, mine)
    if holder != mine:
        job, task = desk.plan.link(step, number), step.task
        desk.note_twin(job, mine, stage=task.stage, task_key=task.key)
        return _nothing(f"job {holder} is link {number} already; this is one too many")
    reason = _unwanted(step, desk, number)
    if reason:
        return _nothing(reason)
    if step.chained:
        _submit_next(step, desk, number, mine)
    return WANTED


def end(folder: TaskFolder, number: int, code: int) -> Exit:
    """Judge link `number`, which ended by itself with `code`; let go of the next if none is to be.

    A process that was killed may have been so by the scheduler, who knows why and is asked later.
    """
    step, desk = _desk(folder)
    if folder.is_done:
        history.end(folder, number, "finished", progressed=True)
        _release_next(step, desk, number)
        return WANTED
    link = next((each for each in history.read(folder) if each.number == number), None)
    if code > 128 or link is None:
        return WANTED
    mine = this_job(desk, step, number)
    state = State.FAILED if code else State.COMPLETED
    status = JobStatus(
        id=mine,
        key="",
        state=state,
        exit_code=code,
        end=int(time.time()),
        node_names=os.environ.get("SLURM_JOB_NODELIST", ""),
    )
    if judge(step, desk, link, status) or forbidden(step, desk):
        _release_next(step, desk, number)
    return WANTED


def this_job(desk: Desk, step: Step, number: int) -> str:
    """Return the id of the job that this process runs in; without a scheduler that is its key."""
    found = next((os.environ[name] for name in JOB_ID if name in os.environ), None)
    scheduled = desk.plan.site.scheduler != "local"
    return found if found and scheduled else desk.plan.link(step, number).key


def _desk(folder: TaskFolder) -> tuple[Step, Desk]:
    plan, step = order.taken(folder)
    return step, Desk(plan, connect(plan.site, plan.run))


def _unwanted(step: Step, desk: Desk, number: int) -> str:
    """Return why link `number` is not to run, empty if it is; what ended before it is judged."""
    folder = desk.plan.run.task(step.task.key)
    if folder.is_done:
        return "the task is done"
    standing = forbidden(step, desk)
    if standing:
        return standing
    if any(link.number == number for link in history.read(folder)):
        return ""
    over = history.over(folder) or _judge_before(step, desk)
    if over is not None:
        return f"the chain is over: {over.reason}"
    history.begin(folder, number, saved(folder))
    folder.result.unlink(missing_ok=True)  # what an earlier link recorded is not this one's
    return ""


def _judge_before(step: Step, desk: Desk) -> history.Over | None:
    """Judge the link before, if nobody has; return why the chain is over, None if it goes on."""
    links = history.read(desk.plan.run.task(step.task.key))
    if not links or not links[-1].is_open:
        return verdict(step, desk)
    account = desk.ledger.accounts()[desk.plan.link(step, links[-1].number).key]
    return judge(step, desk, links[-1], _ended(desk, account.job_id))


def _ended(desk: Desk, job_id: str) -> JobStatus:
    """Return how the job before ended.

    One that was put back into the queue has ended too for us: we go on from its checkpoint, and it
    is cancelled.

    Raises:
        RunError: It runs, or accounting does not know.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        status = _asked(desk, job_id)
        if status.state is State.PENDING:
            desk.scheduler.cancel([job_id])
            return status.model_copy(update={"state": State.PREEMPTED})
        if status.state.is_over:
            desk.settle([job_id])
            return status
        time.sleep(min(5, desk.plan.site.poll_seconds))
    message = f"job {job_id}, the link before, is {status.state}: this link leaves it alone."
    raise RunError(message)


def _asked(desk: Desk, job_id: str) -> JobStatus:
    try:
        return desk.scheduler.query([job_id])[job_id]
    except NotNowError:
        return JobStatus(id=job_id, key="", state=State.UNKNOWN)


def _submit_next(step: Step, desk: Desk, number: int, mine: str) -> None:
    """Submit link `number` + 1, to start when this one is over; a full queue is no failure."""
    if len(history.read(desk.plan.run.task(step.task.key))) >= step.most_links:
        return
    job = desk.plan.link(step, number + 1).model_copy(update={"after": mine})
    try:
        job_id = desk.submit(job, stage=step.task.stage, task_key=step.task.key)
    except (SchedulerError, RunError) as error:
        _say(f"link {number + 1} is left to the controller: {error}")
        return
    _say(f"link {number + 1} is job {job_id}, and waits for the end of job {mine}")


def _release_next(step: Step, desk: Desk, number: int) -> None:
    """Cancel link `number` + 1, if it waits: nothing is left for it to do."""
    job = desk.plan.link(step, number + 1)
    account = desk.ledger.accounts().get(job.key)
    if account is None or account.end is not None:
        return
    job_id = account.job_id or desk.scheduler.find(job.key)
    if job_id:
        desk.scheduler.cancel([job_id])
        _say(f"link {number + 1}, job {job_id}, is not needed and was cancelled")


def _nothing(reason: str) -> Exit:
    _say(f"nothing to do: {reason}")
    return NOTHING_TO_DO


def _say(message: str) -> None:
    sys.stdout.write(f"cosmotron: {message}\n")
    sys.stdout.flush()


def main(verb: str, path: str, number: str, *code: str) -> Exit:
    """Run `begin FOLDER NUMBER` or `end FOLDER NUMBER CODE`."""
    folder = TaskFolder(Path(path))
    try:
        if verb == "begin":
            return begin(folder, int(number))
        return end(folder, int(number), int(code[0]))
    except (RunError, SchedulerError) as error:
        _say(f"{verb}: {error}")
        return NOTHING_TO_DO
    except OSError as error:
        _say(
            f"{verb}: {error.filename or path}: {error.strerror}. Make room there, then run again."
        )
        return Exit.CANNOT_WRITE


if __name__ == "__main__":
    raise SystemExit(int(main(*sys.argv[1:])))
