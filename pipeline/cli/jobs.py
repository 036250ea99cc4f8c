"""The verbs for a campaign's jobs: cancel and logs."""

import os
import signal
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.catalog import DeclarationError
from pipeline.claims import ClaimState, Detector, holder
from pipeline.cli.opening import RunName, opened
from pipeline.cli.screen import (
    CampaignName,
    Project,
    Root,
    SiteName,
    TaskName,
    as_hours,
    screen,
    there,
)
from pipeline.job import State
from pipeline.outcome import BusyError, RunError

if TYPE_CHECKING:
    from pipeline.chains.job_manager import JobManager
    from pipeline.run import Run

DETACH_SECONDS = 60


def cancel(
    campaign: CampaignName,
    site: SiteName = None,
    root: Root = None,
    project: Project = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Cancel every job of a campaign that has not ended; finished tasks stay done.

    A controller on this machine is stopped first.

    Example: `cosmotron cancel quickstart --site perlmutter`
    """
    from pipeline.chains.job_manager import JobManager
    from pipeline.planning.plan import RunOptions, make_plan
    from pipeline.scheduler import connect

    what, where, folder = opened(campaign, site, root)
    run = there(folder, where)
    manager = JobManager(make_plan((), run, where, RunOptions(project)), connect(where, run))
    manager.recover()
    manager.settle()
    jobs = manager.unended()
    if not jobs:
        screen.print(f"Cancelled 0 job(s) of {what.name} on {where.name}.")
        return
    for each in jobs:
        status = manager.status(each.job_id)
        if status.state is State.UNKNOWN and status.reason:
            screen.print(f"{each.known_as}: {status.reason}.", highlight=False, soft_wrap=True)
    states = ", ".join(f"{n} {state}" for state, n in Counter(j.state for j in jobs).items())
    held = as_hours(sum(each.reserved_node_hours for each in jobs))
    screen.print(f"{what.name} on {where.name}: {states}; {held} node-hours reserved for them.")
    if not yes and not typer.confirm("Cancel them?"):
        screen.print("Nothing was cancelled.")
        return
    _detach(run)
    screen.print(f"Cancelled {_cancelled(manager)} job(s) of {what.name} on {where.name}.")


def _detach(run: "Run") -> None:
    """Stop the controller, which would submit again.

    Raises:
        BusyError: It runs on another machine, or does not stop.
    """
    controller = holder(run.claim, partial(screen.print, markup=False, soft_wrap=True))
    if controller is None:
        return
    if controller.is_alive:
        os.kill(controller.pid, signal.SIGINT)
        deadline = time.monotonic() + DETACH_SECONDS
        while time.monotonic() < deadline:
            if Detector(run.claim)() is ClaimState.FREE:
                return
            time.sleep(0.2)
    message = (
        f"{run.path}: the controller, process {controller.pid} on {controller.host}, would submit "
        f"again. End it with: {controller.how_to_end()}"
    )
    raise BusyError(message)


def _cancelled(manager: "JobManager") -> int:
    """Cancel until no job is left, since a link that just began may have submitted another."""
    count = 0
    for _ in range(3):
        jobs = [each.job_id for each in manager.unended()]
        if not jobs:
            break
        manager.cancel(jobs)
        count += len(jobs)
        manager.recover()
    return count


def logs(
    campaign: RunName,
    task: TaskName,
    site: SiteName = None,
    root: Root = None,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="The number of lines at the end.")
    ] = 40,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the log until the task is over.")
    ] = False,
    names: Annotated[bool, typer.Option("--list", help="Print the logs' paths instead.")] = False,
) -> None:
    """Print the end of the log of a task's newest job, and of a training its last steps.

    Example: `cosmotron logs quickstart pretrain/m0-d960-s1 --follow`
    """
    from pipeline.chains import logs as room

    what, _, run = opened(campaign, site, root)
    keys = [each.key for each in what.tasks(run)]
    if task not in keys:
        message = f"{campaign}: no task {task!r}. There are: {', '.join(keys)}."
        raise DeclarationError(message)
    folder = run.task(task)
    if names:
        for path in room.logs(folder):
            typer.echo(path)
        return
    if not follow:
        ends = room.ends(folder, lines)
        if not ends:
            message = f"{folder.logs}: no log yet. See: cosmotron status {campaign}"
            raise RunError(message)
        typer.echo(ends, nl=False)
        return
    try:
        for text in room.follow(folder, lines):
            typer.echo(text, nl=False)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
