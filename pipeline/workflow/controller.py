"""Drive a campaign to its report, from its current state."""

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline import catalog, claims, leftovers, records, shared
from pipeline.attendance import Attendance, attending
from pipeline.campaign import Campaign, StageTask, Task, to_toml
from pipeline.catalog import DeclarationError
from pipeline.chains import history, stop_requests, waiting
from pipeline.chains.job_manager import JobManager
from pipeline.chains.progress import Progress, all_progress
from pipeline.chains.remaining_cost import committed_by
from pipeline.chains.settlement import settle_all
from pipeline.chains.watch import Watchers
from pipeline.masking import has_secret, masked
from pipeline.outcome import RunError
from pipeline.planning import (
    changes,
    code_copy,
    event_counts,
    fitting,
    misuse,
    overlaps,
    preflight,
    selection,
    shared_stores,
)
from pipeline.planning.changes import Change
from pipeline.planning.plan import PACK, PILOT, Plan, RunOptions, Step, make_plan
from pipeline.planning.selection import Part
from pipeline.records import Ending
from pipeline.report import write_report
from pipeline.run import Run, TaskFolder
from pipeline.scheduler import connect
from pipeline.site import Site
from pipeline.workflow.display import Display
from pipeline.writing import write_json, write_text

PACKAGES = (
    *("cosmotron", "numpy", "parsl", "torch", "deepspeed", "safetensors", "zarr", "uproot"),
    "pythia8mc",
)


def unfinished(campaign: Campaign, run: Run, only: Sequence[str] = ()) -> list[Task]:
    """Return the tasks whose product is not complete, or is not what they ask for now.

    Of the part of the campaign that `only` names, if it names one.

    Raises:
        DeclarationError: There is no such part; or the sources of a dataset are not there.
    """
    return selection.part(campaign, run, only).to_do


def drive(
    campaign: Campaign,
    site: Site,
    run: Run,
    options: RunOptions,
    *,
    console: Console,
    agree: Callable[[Plan, Mapping[str, Change]], bool],
    checks: bool = True,
) -> list[str]:
    """Run the unfinished tasks of the campaign and write the report; return a line per failure.

    Safe to call again after any end, kill -9 included: finished tasks are left alone, running
    trainings are watched, and pilots that a dead controller left are ended. Where the campaign was
    changed, what `agree` was shown is made again, and its former product moved aside.

    Raises:
        RunError: Another controller drives this run or has taken it over, a stop request exists, or
            the folder cannot be used.
        DeclarationError: The campaign tests models on what they are trained on, or a store that it
            takes is not whole; or the site cannot run it, or, unless `checks` is off, its policies
            forbid it (`misuse`).
        BadInput: A store or a training of the run was made by an older version.
    """
    check_may_run(run)
    part = fitting.within(selection.part(campaign, run, options.only), campaign, site)
    tasks, todo = part.every_task, part.to_do
    if todo:
        _check_inputs(part, campaign, run)
    plan = make_plan(todo, run, site, options, changes.begun(part.changes, part.tasks))
    if todo and checks:
        misuse.check(plan, connect(site, run))
        fitting.check(todo, campaign, site)
    if todo and not agree(plan, part.changes):
        return []
    shared.share(run.path, options.group, closed=run.code)
    with (
        claims.claimed(run.claim, notice=partial(_say, console)),
        attending(run) as attendance,
    ):
        if todo and checks:
            preflight.before_submission(plan, connect(site, run))
        leftovers.remove(folders(run, tasks))
        is_stale = _record(campaign, site, run)
        _declare(part, run, console)
        check = partial(_check_overlap, tasks, run, allow=campaign.allow_overlap)
        is_stale |= _settle(plan, console)
        problems = execute(plan, part.tasks, console, check, attendance) if todo else []
        attendance.end(problems)
        if todo or is_stale or not run.page.exists():
            write_report(run, campaign, site, committed_by(plan, _finished(plan)))
    return problems


def _check_inputs(part: Part, campaign: Campaign, run: Run) -> None:
    """Check what is to be done against what it is made from.

    Raises:
        DeclarationError: A dataset that is to be staged has no source here, or a store that it
            takes is not whole; a model starts from weights of another one, or is tested on what it
            is trained on; or a dataset has fewer events than tasks ask for.
        RunError: A store that was staged before is gone, and so are its sources.
    """
    changes.check_sources(part.changes)
    shared_stores.check(campaign, part.to_do, run)
    if any(isinstance(task, StageTask) and not task.files for task in part.to_do):
        campaign.tasks(run)  # which says what is not there
    campaign.check_weights()
    overlaps.check(part.every_task, run, allow=campaign.allow_overlap)
    problems = list(event_counts.too_few(part))
    if problems:
        raise DeclarationError("\n".join(problems))


def _finished(plan: Plan) -> list[str]:
    """Return the tasks of a plan whose products are complete."""
    keys = [step.task.key for step in plan.steps]
    return [key for key in keys if plan.run.task(key).is_done]


def _settle(plan: Plan, console: Console) -> bool:
    """Bring the ledger up to accounting, and return whether it lacked records.

    Trainings may have ended while no controller lived. Where more is to do, `execute` does so.
    """
    if plan.steps:
        return False
    settled = settle_all(JobManager(plan, connect(plan.site, plan.run)))
    if settled.problem:
        _say(console, f"The ledger is not settled: {settled.problem}")
    return bool(settled.records)


def _say(console: Console, message: str) -> None:
    """Print `message` as it is."""
    console.print(message, markup=False, highlight=False, soft_wrap=True)


def check_may_run(run: Run) -> None:
    """Check that this controller drives the run, if it did, and that there is no stop request.

    Raises:
        SupersededError: Another controller has taken it over.
        RunError: There is a stop request; the message says by whom.
    """
    claims.confirm()
    request = stop_requests.message(run)
    if request:
        message = f"{request} No more jobs are submitted; running links save and end by themselves."
        raise RunError(message)


def _record(campaign: Campaign, site: Site, run: Run) -> bool:
    """Write the resolved declarations, and the environment of this controller.

    Return whether the campaign is another than that of the last page.
    """
    run.identify()
    declared = to_toml(campaign)
    is_stale = not run.declaration.exists() or run.declaration.read_text() != declared
    write_text(run.declaration, declared, private=has_secret(declared))
    write_text(run.site, to_toml(site))
    write_json(run.environment, environment())
    return is_stale


def _declare(part: Part, run: Run, console: Console) -> None:
    """Move what is replaced aside, and declare the tasks of the part as they are now.

    So is what was made of those whose products are replaced; others stay as they were declared.
    """
    part = part.renewed(run)
    aside = changes.apply(part.changes, part.affected, run)
    if aside is not None:
        console.print(f"What is replaced is kept as it was in {aside}", soft_wrap=True)


def folders(run: Run, tasks: Sequence[Task]) -> Iterator[Path]:
    """Yield the folders in which a killed process may have left a file without its name."""
    yield from (run.path, run.ledger, run.code, run.report, run.bundles, run.node_failures)
    yield from (run.local_jobs, run.store("").parent, *run.store("").parent.glob("*.zarr"))
    for folder in (run.task(task.key) for task in tasks):
        yield from (folder.path, folder.parts, folder.links, folder.chain, folder.logs)


def _check_overlap(tasks: Sequence[Task], run: Run, step: Step, *, allow: bool) -> None:
    """Check that no model from the training `step` is tested on what is trained on now.

    By now more is staged than when the campaign began, and content can be compared.

    Raises:
        DeclarationError: One is, and the campaign does not `allow` it.
    """
    overlaps.refuse(overlaps.findings(tasks, run, of=step.task.key), allow=allow)


def execute(
    plan: Plan,
    tasks: Sequence[Task],
    console: Console,
    check: Callable[[Step], None],
    attendance: Attendance,
) -> list[str]:
    """Run the graph of `plan` to its end, each training after its `check`; return the failures."""
    from pipeline.workflow import graph, pilots

    code_copy.write(plan.run)
    _let_programs_find_us()
    _forget_failures(plan)
    manager = JobManager(plan, connect(plan.site, plan.run))
    manager.recover()
    manager.settle()
    ended = pilots.sweep(manager)
    if ended:
        console.print(f"Ended {ended} pilot(s) of an earlier controller.")
    kernel = pilots.load(manager)
    watchers = Watchers(manager)
    try:
        futures = graph.submit(kernel, manager, watchers, check)
        with Display(console, lambda: _progress(tasks, manager)) as display:
            while not all(future.done() for future in futures.values()):
                check_may_run(plan.run)
                attendance.note()
                pilots.check(kernel)
                watchers.forget(key for key, future in futures.items() if future.done())
                watchers.advance()
                display.update(manager.refusal, pilots.news(kernel))
                time.sleep(0.5)
        claims.confirm()
        return _problems(plan, manager, futures, watchers, graph.problem)
    finally:
        manager.stop()
        if claims.are_held():
            pilots.leave(kernel)
            manager.settle()
            manager.cancel(_not_needed(manager))
            manager.recheck()
            manager.record_pilot_tasks(tasks)
        else:
            pilots.abandon(kernel)


def _progress(tasks: Sequence[Task], manager: JobManager) -> list[Progress]:
    """Return the progress of the tasks, and why jobs wait, as of the manager's last poll."""
    rows = all_progress(tasks, manager.plan.run)
    return waiting.explained(rows, tasks, manager.waits, manager.plan.site)


def _not_needed(manager: JobManager) -> list[str]:
    """Return the jobs that are not needed any more: pilots, and links of chains that are over."""
    run, unended = manager.plan.run, manager.unended()
    needed = {
        each.job_id
        for each in unended
        if each.stage not in (PILOT, PACK) and not _is_over(run.task(each.task))
    }
    return sorted({each.job_id for each in unended} - needed)


def _is_over(folder: TaskFolder) -> bool:
    """Whether no further link of a training is wanted."""
    return folder.is_done or history.over(folder) is not None


def _forget_failures(plan: Plan) -> None:
    """Remove the failures that earlier tries recorded.

    Only failures, since a running training may finish and record its result at this moment; and
    only of tasks that are tried again: an open link still needs its record to be judged, and a
    divergence is reported.
    """
    for step in plan.steps:
        folder = plan.run.task(step.task.key)
        result = records.read(folder.result, Ending)
        if result is None or result.outcome in ("finished", "diverged"):
            continue
        if not any(link.is_open for link in history.read(folder)):
            folder.result.unlink()


def _problems(
    plan: Plan,
    manager: JobManager,
    futures: dict[str, Future[Any]],
    watchers: Watchers,
    describe: Callable[..., str],
) -> list[str]:
    """Return a message for each step that failed by itself; a log is shown only once."""
    problems: list[str] = []
    first: dict[str, str] = {}
    for step in plan.steps:
        key = step.task.key
        error = watchers.errors.get(key) or futures[key].exception()
        message = describe(step, manager, error) if error is not None else ""
        if not message:
            continue
        known = first.setdefault(message, key)
        same = known != key and "\n" in message
        problems.append(f"{key}: the same as {known}" if same else f"{key}: {message}")
    return problems


def _let_programs_find_us() -> None:
    """Let the programs of a bare checkout import us, wherever they start."""
    beside = str(catalog.PACKAGE.parent)
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if catalog.folder("sites").parent != catalog.PACKAGE and beside not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [beside, *known]))


def environment() -> dict[str, Any]:
    """Return what the results were made with: versions, commit, machine, time."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed here"
    return {
        "packages": versions,
        "python": platform.python_version(),
        "commit": _commit(),
        "host": platform.node(),
        "command": [masked(word) for word in sys.argv],
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _commit() -> str:
    """Return the git commit of a checkout, with "+" if files were changed; empty in a wheel."""
    if shutil.which("git") is None:
        return ""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--abbrev=40"],
        cwd=catalog.PACKAGE,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()
