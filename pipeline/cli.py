"""The command line: one verb a function, which reads its arguments and calls the room below."""

import dataclasses
import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline import __version__
from pipeline.campaign import SHELF as CAMPAIGNS
from pipeline.campaign import Campaign, load_campaign
from pipeline.catalog import DeclarationError, names
from pipeline.run import Exit, Run, RunError
from pipeline.site import SHELF as SITES
from pipeline.site import Site, load_site

if TYPE_CHECKING:
    from pipeline.workflow.plan import Plan

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Raw detector simulation to a scaling law, with every node-hour accounted for.\n\n"
    "Example: `cosmotron run quickstart --site local`",
)
sites_app = typer.Typer(no_args_is_help=True, help="The machines we know: list and show.")
app.add_typer(sites_app, name="sites")

CampaignName = Annotated[str, typer.Argument(help="A declared campaign, or a .toml file.")]
SiteName = Annotated[
    str | None, typer.Option("--site", help="A declared site, or a .toml file; default: this one.")
]
Root = Annotated[
    Path | None, typer.Option("--root", help="Where run folders live; default: the site's scratch.")
]
Project = Annotated[
    str, typer.Option("--project", envvar="COSMOTRON_PROJECT", help="The project that pays.")
]
QosName = Annotated[str, typer.Option("--qos", help="The queue of the trainings.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

out = Console(soft_wrap=False)
screen = Console(stderr=True)


def main() -> int:
    """Run the command line; return the exit code."""
    try:
        with _told():
            app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return Exit.FINISHED


@contextmanager
def _told() -> Iterator[None]:
    """Turn what may go wrong into one message and an exit code that means something."""
    from pipeline.scheduler import SchedulerError  # noqa: PLC0415

    try:
        yield
    except DeclarationError as error:
        _fail(str(error), Exit.USAGE)
    except RunError as error:
        _fail(str(error), Exit.BUSY)
    except SchedulerError as error:
        _fail(str(error), Exit.FAILED)
    except OSError as error:
        _fail(_disk(error), Exit.CANNOT_WRITE)
    except KeyboardInterrupt:
        _fail("Interrupted. Batch jobs go on; the same command takes over from here.", Exit.FAILED)


def _disk(error: OSError) -> str:
    """Return what to do about a file that cannot be written or read."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.filename}: no space left. Free some, or choose another --root; then again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.filename}: no permission. Choose a folder of yours with --root."
    return f"{error.filename}: {error.strerror}."


def _fail(message: str, code: Exit) -> None:
    """Print `message` and end with `code`."""
    screen.print(f"[bold red]error[/] {_escaped(message)}", highlight=False, soft_wrap=True)
    raise SystemExit(int(code))


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


def _run(campaign: Campaign, site: Site, root: Path | None) -> Run:
    """Return the run folder of `campaign` on `site`."""
    return Run(root or Path(os.path.expandvars(site.scratch)).expanduser(), campaign.name)


def _hours(value: float) -> str:
    """Return node-hours as people read them."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.4g}"


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def run(
    campaign: CampaignName,
    site: SiteName = None,
    root: Root = None,
    project: Project = "",
    qos: QosName = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask about the price.")] = False,
) -> None:
    """Run a campaign to its report, from wherever it stands; safe to repeat after any end.

    Example: `cosmotron run quickstart --site local`
    """
    from pipeline.workflow.controller import drive, unfinished  # noqa: PLC0415
    from pipeline.workflow.plan import Asked  # noqa: PLC0415

    asked, where, what = Asked(project, qos), load_site(site), load_campaign(campaign)
    folder = _run(what, where, root)
    done_before = not unfinished(what.tasks(folder), folder) and folder.page.exists()

    def agree(plan: "Plan") -> bool:
        screen.print(
            f"{what.name} on {where.name}: {len(plan.steps)} tasks to do, "
            f"at most {_hours(plan.node_hours)} node-hours. Run folder: {folder.path}"
        )
        return yes or where.scheduler == "local" or typer.confirm("Submit?")

    problems = drive(what, where, folder, asked, console=screen, agree=agree)
    for problem in problems:
        screen.print(f"[bold red]failed[/] {_escaped(problem)}", highlight=False, soft_wrap=True)
    if problems:
        again = f"cosmotron run {campaign}" + (f" --site {site}" if site else "")
        _fail(f"{len(problems)} task(s) failed. Mend the cause, then: {again}", Exit.FAILED)
    left = unfinished(what.tasks(folder), folder)
    if done_before:
        screen.print(f"Nothing to do: all {len(what.tasks(folder))} tasks are done.")
    if not left:
        screen.print(f"Report: {folder.page.resolve()}", soft_wrap=True)


@app.command()
def plan(
    campaign: CampaignName,
    site: SiteName = None,
    root: Root = None,
    project: Project = "",
    qos: QosName = "",
    scripts: Annotated[
        Path | None, typer.Option(help="Write the batch scripts that would be submitted here.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a campaign comes to on a site, before anything is submitted.

    Example: `cosmotron plan quickstart --site perlmutter --project m4722 --scripts scripts/`
    """
    from pipeline.workflow.plan import Asked, make_plan, write_scripts  # noqa: PLC0415

    what, where = load_campaign(campaign), load_site(site)
    folder = _run(what, where, root)
    planned = make_plan(what.tasks(folder), folder, where, Asked(project, qos))
    written = write_scripts(planned, scripts) if scripts is not None else []
    if as_json:
        rows = [
            {
                "task": step.task.key,
                "needs": step.task.needs,
                "nodes": step.nodes,
                "links": step.links,
                "link_minutes": step.link_minutes,
                "node_hours": step.node_hours,
            }
            for step in planned.steps
        ]
        total = {"pilot_node_hours": planned.pilot_node_hours, "node_hours": planned.node_hours}
        typer.echo(json.dumps({"site": where.name, "steps": rows, **total}, indent=2))
        return
    table = Table("task", "runs as", "at most, node-hours", box=None, pad_edge=False)
    for step in planned.steps:
        jobs = f"{step.links} × {step.nodes} node(s) × {step.link_minutes} min"
        price = "" if step.in_pilot else _hours(step.node_hours)
        table.add_row(step.task.key, "in a pilot" if step.in_pilot else jobs, price)
    pilots = where.pilot
    table.add_row(
        "pilots",
        f"up to {pilots.max_blocks} × {pilots.nodes_per_block} node(s) "
        f"× {pilots.walltime_minutes} min",
        _hours(planned.pilot_node_hours),
    )
    table.add_row("[bold]all[/]", f"on {where.title}", f"[bold]{_hours(planned.node_hours)}[/]")
    out.print(table)
    if written:
        screen.print(f"Wrote {len(written)} scripts to {scripts}.")


@app.command()
def status(
    campaign: CampaignName, site: SiteName = None, root: Root = None, as_json: AsJson = False
) -> None:
    """Show how far each task is, from disk alone; nothing need be running.

    Example: `cosmotron status quickstart`
    """
    from pipeline.workflow.display import table  # noqa: PLC0415
    from pipeline.workflow.status import all_progress  # noqa: PLC0415

    what = load_campaign(campaign)
    folder = _run(what, load_site(site), root)
    rows = all_progress(what.tasks(folder), folder)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
    else:
        out.print(table(rows))


@app.command()
def cancel(
    campaign: CampaignName, site: SiteName = None, root: Root = None, project: Project = ""
) -> None:
    """Cancel every job of a campaign that has not ended; what is done stays done.

    Example: `cosmotron cancel quickstart --site perlmutter`
    """
    from pipeline.scheduler import connect  # noqa: PLC0415
    from pipeline.workflow.desk import Desk  # noqa: PLC0415
    from pipeline.workflow.plan import Asked, make_plan  # noqa: PLC0415

    what, where = load_campaign(campaign), load_site(site)
    folder = _run(what, where, root)
    desk = Desk(make_plan((), folder, where, Asked(project)), connect(where, folder))
    desk.settle()
    jobs = desk.unended()
    desk.cancel([each.job_id for each in jobs])
    screen.print(f"Cancelled {len(jobs)} job(s) of {what.name} on {where.name}.")


@app.command()
def budget(
    campaign: CampaignName, site: SiteName = None, root: Root = None, as_json: AsJson = False
) -> None:
    """Show the node-hours reserved and charged, per site and stage, from the ledger.

    Example: `cosmotron budget quickstart`
    """
    from pipeline.budget.ledger import Ledger  # noqa: PLC0415
    from pipeline.budget.summary import summary  # noqa: PLC0415

    what = load_campaign(campaign)
    rows = summary(Ledger(_run(what, load_site(site), root).ledger))
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    if not rows:
        screen.print(f"No record yet. Start with: cosmotron run {campaign}")
        return
    table = Table("site", "stage", "jobs", "reserved", "charged", "states", box=None)
    for row in rows:
        states = ", ".join(f"{count} {state}" for state, count in row.states.items())
        reserved, charged = _hours(row.reserved_node_hours), _hours(row.charged_node_hours)
        table.add_row(row.site, row.stage, str(row.jobs), reserved, charged, states)
    for name in dict.fromkeys(row.site for row in rows):
        reserved = _hours(sum(r.reserved_node_hours for r in rows if r.site == name))
        charged = _hours(sum(r.charged_node_hours for r in rows if r.site == name))
        table.add_row(name, "[bold]all[/]", "", reserved, f"[bold]{charged}[/]", "node-hours")
    out.print(table)


@app.command()
def report(campaign: CampaignName, site: SiteName = None, root: Root = None) -> None:
    """Write the report again, from what lies in the run folder.

    Example: `cosmotron report quickstart`
    """
    from pipeline.report import write_report  # noqa: PLC0415

    what, where = load_campaign(campaign), load_site(site)
    folder = _run(what, where, root)
    if not folder.path.is_dir():
        message = f"{folder.path}: no such run. Start with: cosmotron run {campaign}"
        raise RunError(message)
    typer.echo(write_report(folder, what, where))


@app.command()
def campaigns() -> None:
    """List the declared campaigns.

    Example: `cosmotron campaigns`
    """
    for name in names(CAMPAIGNS):
        out.print(f"{name:<14} {load_campaign(name).description}", highlight=False)


@sites_app.command("list")
def sites_list(as_json: AsJson = False) -> None:
    """List the machines we know.

    Example: `cosmotron sites list`
    """
    known = [load_site(name) for name in names(SITES)]
    if as_json:
        typer.echo(json.dumps([site.model_dump(mode="json") for site in known], indent=2))
        return
    table = Table("site", "", "scheduler", "devices", "facts of", "here", box=None, pad_edge=False)
    for site in known:
        node = site.nodes[site.training.node]
        devices = f"{node.devices} × {site.accelerator} a node"
        here = "yes" if site.here else ""
        table.add_row(site.name, site.title, site.scheduler, devices, str(site.as_of), here)
    out.print(table)


@sites_app.command("show")
def sites_show(site: Annotated[str, typer.Argument(help="A declared site.")]) -> None:
    """Print a site as its file declares it, sources and dates included.

    Example: `cosmotron sites show perlmutter`
    """
    from pipeline.catalog import find  # noqa: PLC0415

    load_site(site)
    typer.echo(find(SITES, site).read_text(), nl=False)
