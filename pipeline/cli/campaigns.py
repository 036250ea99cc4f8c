"""The verbs of a campaign: run, status, export, report, crate."""

import dataclasses
import json
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from pipeline.catalog import names
from pipeline.cli import changing, completion, together
from pipeline.cli.opening import RunName, RunNames, opened
from pipeline.cli.planning import plan
from pipeline.cli.screen import (
    AsJson,
    Bundle,
    CampaignName,
    Group,
    Image,
    Only,
    Project,
    QosName,
    Root,
    SiteName,
    as_hours,
    escaped,
    fail,
    known_campaign,
    no_such_run,
    out,
    screen,
    there,
)
from pipeline.cli.settling import settled
from pipeline.outcome import Exit, RunError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.chains.progress import Progress
    from pipeline.planning.changes import Change
    from pipeline.planning.plan import Plan
    from pipeline.run import Run


def run(
    campaign: CampaignName,
    site: SiteName = None,
    root: Root = None,
    project: Project = "",
    qos: QosName = "",
    cap: Annotated[
        float | None, typer.Option(help="The cap on node-hours; default: the campaign's.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    profile: Annotated[
        int, typer.Option(min=0, help="Profile this many steps of each training.")
    ] = 0,
    image: Image = "",
    bundle: Bundle = "cheapest",
    group: Group = "",
    only: Only = None,
    checks: Annotated[
        bool,
        typer.Option(
            "--check/--no-check", help="Check the plan and the site before the first submission."
        ),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would do and cost, as `plan` does.")
    ] = False,
) -> None:
    """Run a campaign to its report, from its current state; safe to repeat after any end.

    With --only, which may be repeated, a part of it: the other parts run on other machines.

    Example: `cosmotron run quickstart --site local`
    """
    from pipeline.planning.plan import RunOptions
    from pipeline.workflow.controller import drive, unfinished

    if dry_run:
        plan(campaign, site, root, project, qos, image=image, bundle=bundle, only=only)
        return
    what, where, folder = opened(campaign, site, root)
    limit, shared_with, part = cap or what.cap_node_hours, group or where.group, tuple(only or ())
    options = RunOptions(project, qos, limit, profile, image, bundle, shared_with, part)
    folder = there(folder, where)
    done_before = not unfinished(what, folder, part) and folder.page.exists()
    agree = partial(_agreed, yes=yes)
    # A shell script that starts us with & makes us ignore SIGINT, which `cosmotron cancel` sends.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        problems = drive(what, where, folder, options, console=screen, agree=agree, checks=checks)
    except KeyboardInterrupt:
        fail("Interrupted. Batch jobs continue; the same command resumes from here.", 130)
    if problems:
        _fail_with(problems, f"cosmotron run {campaign}" + (f" --site {site}" if site else ""))
    left = unfinished(what, folder, part)
    if done_before:
        count = f"{len(what.tasks(folder))} tasks" if not part else f"tasks of {', '.join(part)}"
        screen.print(f"Nothing to do: all {count} are done.")
    if not left:
        screen.print(f"Report: {folder.page.resolve()}", soft_wrap=True)


def _agreed(plan: "Plan", changes: "Mapping[str, Change]", *, yes: bool) -> bool:
    """Show the cost of the plan; ask where jobs are charged, or something is made again."""
    from pipeline.scheduler import batch_system

    screen.print(
        f"{plan.run.campaign} on {plan.site.name}: {len(plan.steps)} tasks to do, "
        f"at most {as_hours(plan.node_hours)} node-hours. Run folder: {plan.run.path}"
    )
    for line in changing.lines(changes, plan.steps):
        screen.print(escaped(line), highlight=False, soft_wrap=True)
    if changing.asks(changes):
        return yes or typer.confirm("Make these again?")
    if any(each.goes_on_changed for each in changes.values()):
        return yes or typer.confirm("Go on with these?")
    return yes or not batch_system(plan.site).HAS_QUEUE or typer.confirm("Submit?")


def _fail_with(problems: list[str], again: str) -> NoReturn:
    """Print each failed task and end with the command that tries again."""
    for problem in problems:
        screen.print(f"[bold red]failed[/] {escaped(problem)}", highlight=False, soft_wrap=True)
    fail(f"{len(problems)} task(s) failed. Fix the cause, then: {again}", Exit.FAILED)


def status(
    campaign: RunName,
    site: SiteName = None,
    root: Root = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep the table until all tasks are over.")
    ] = False,
    interval: Annotated[
        float,
        typer.Option(
            min=0.1, metavar="SECONDS", help="The time between two updates, with --watch."
        ),
    ] = 2.0,
    as_json: AsJson = False,
    settle: Annotated[
        bool, typer.Option("--settle", help="Bring the ledger up to accounting first.")
    ] = False,
) -> None:
    """Show the progress of each task, from the run folder and the queue; no controller need run.

    Above the table stands who drives the run now, or did last. A job that waits shows why, by its
    scheduler, and what to do. For each training there are also
    the links, their overhead, and the pace.

    Example: `cosmotron status quickstart --watch`
    """
    from pipeline.chains.progress import Progress, all_progress, over
    from pipeline.chains.waiting import Queue, explained
    from pipeline.workflow.display import watch as stay

    what, where, folder = opened(campaign, site, root)
    if not watch:
        _check_begun(folder, campaign)
    if settle:
        settled(folder, where)
    tasks, queue = what.tasks(folder), Queue(folder, where)

    def poll() -> list[Progress]:
        """Return the progress of each task, and why its job waits."""
        return explained(all_progress(tasks, folder), tasks, queue.waits(), where)

    if watch:
        if as_json:
            fail("--watch and --json exclude each other.", Exit.USAGE)
        try:
            stay(out, poll, partial(over, tasks), interval)
        except KeyboardInterrupt:
            raise SystemExit(130) from None
    rows = poll()
    if queue.problem:
        screen.print(f"Why jobs wait is not known: {escaped(queue.problem)}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    _print_status(rows, folder, with_tasks=not watch)
    if watch and any(row.state != "done" for row in rows):
        raise SystemExit(int(Exit.FAILED))


def _print_status(rows: "list[Progress]", run: "Run", *, with_tasks: bool) -> None:
    """Print who drives the run and the tasks, if wanted, and the pace of each training."""
    from pipeline import attendance
    from pipeline.workflow.display import table, trainings

    if with_tasks:
        driver = attendance.driver(run)
        if driver:
            out.print(driver, highlight=False, markup=False, soft_wrap=True)
        out.print(table(rows, out.width))
    paces = trainings(rows, out.width)
    if paces is not None:
        out.print("", paces)


def export(
    campaign: RunName,
    task: Annotated[
        str,
        typer.Argument(
            help="A finished training, as `status` names it.", autocompletion=completion.tasks
        ),
    ],
    to: Annotated[Path, typer.Option("--to", help="The folder to write; new or empty.")],
    site: SiteName = None,
    root: Root = None,
    licence: Annotated[
        str,
        typer.Option(
            "--license", metavar="ID", help="For the card, as SPDX writes it in lower case: mit."
        ),
    ] = "other",
    hub: Annotated[
        bool,
        typer.Option(
            "--hub",
            help="Name the files as the Hugging Face hub does: model.safetensors, config.json.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder with files.")] = False,
) -> None:
    """Export a trained model: weights.safetensors, config.toml, and a model card, README.md.

    `hf upload OWNER/NAME m0/` publishes a folder that was written with --hub.

    Example: `cosmotron export quickstart pretrain/m0-d960-s1 --to m0/ --hub --license mit`
    """
    from pipeline.release.export import export as write

    what, _, folder = opened(campaign, site, root)
    typer.echo(write(what, folder, task, to, licence=licence, hub=hub, force=force))


def report(
    runs: RunNames,
    site: SiteName = None,
    root: Root = None,
    form: Annotated[
        Literal["html", "json", "csv", "latex"],
        typer.Option("--format", help="The page, or the results alone, printed for scripts."),
    ] = "html",
    figures: Annotated[
        Path | None,
        typer.Option(help="Write each figure of the page here: PDF, SVG, and CSV of its numbers."),
    ] = None,
    style: Annotated[
        Literal["plain", "alice", "atlas", "cms", "dune", "lhcb", "sphenix"],
        typer.Option(help="Of --figures: fonts, ticks and frames as a collaboration has them."),
    ] = "plain",
) -> None:
    """Write the report again from the run folder, or print its results or draw its figures.

    Of several run folders of one campaign, one on each machine: one page, together.html of the
    first, with where each task ran. If two runs hold a task, it says which is taken and why.

    Example: `cosmotron report quickstart --figures figures --style atlas`
    """
    if figures is not None:
        from pipeline.cli.figures import write

        what, opened_runs = together.all_opened(runs, site, root)
        write(what, opened_runs, figures, style)
        return
    if len(runs) > 1:
        together.report(runs, site, root, form)
        return
    from pipeline.report import write_report

    (campaign,) = runs
    what, where, folder = opened(campaign, site, root)
    _check_begun(folder, campaign)
    if form == "html":
        typer.echo(write_report(folder, what, where))
        return
    from pipeline.report.tables import results_as

    text, problems = results_as(folder, what, form)
    typer.echo(text, nl=False)
    for problem in problems:
        screen.print(f"[bold red]left out[/] {escaped(problem)}", highlight=False, soft_wrap=True)


def crate(
    campaign: RunName, site: SiteName = None, root: Root = None, as_json: AsJson = False
) -> None:
    """Describe a run for other tools: an RO-Crate of the folder, a Croissant file per store.

    It describes the current state; repeat it when a running campaign is over.

    Example: `cosmotron crate quickstart`
    """
    from pipeline.release.provenance import write_provenance

    what, _, folder = opened(campaign, site, root)
    _check_begun(folder, campaign)
    written = write_provenance(folder, what)
    if as_json:
        croissants = [str(path) for path in written.croissants]
        content = {"crate": str(written.crate), "croissants": croissants}
        typer.echo(json.dumps(content | {"problems": written.problems}, indent=2))
        return
    for path in (written.crate, *written.croissants):
        typer.echo(path)
    for problem in written.problems:
        screen.print(f"[bold red]left out[/] {escaped(problem)}", highlight=False, soft_wrap=True)


def _check_begun(folder: "Run", name: str) -> None:
    """Check that the run `name` was begun.

    Raises:
        RunError: It never was.
    """
    if not folder.path.is_dir():
        message = no_such_run(folder, name)
        raise RunError(message)


def campaigns(as_json: AsJson = False) -> None:
    """List the declared campaigns.

    Example: `cosmotron campaigns`
    """
    from pipeline.campaign import SHELF

    known = {name: known_campaign(name).description for name in names(SHELF)}
    if as_json:
        typer.echo(json.dumps(known, indent=2))
        return
    for name, description in known.items():
        out.print(f"{name:<14} {description}", highlight=False)
