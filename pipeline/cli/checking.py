"""The verb sites check: compares a site with its declaration."""

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipeline.catalog import DeclarationError
from pipeline.cli import completion
from pipeline.cli.screen import AsJson, Image, Project, QosName, Root, out, screen
from pipeline.outcome import Exit
from pipeline.site import Site, load_site

if TYPE_CHECKING:
    from pipeline.planning.preflight import Check

COLOURS = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}


def sites_check(
    site: Annotated[
        str,
        typer.Argument(
            help="A declared site, or a path.",
            autocompletion=completion.sites,
        ),
    ] = "",
    root: Root = None,
    project: Project = "",
    qos: QosName = "",
    image: Image = "",
    job: Annotated[
        bool, typer.Option("--job", help="Also run a check job on two nodes, which is charged.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare a site with its declaration: accounts, files, packages, and a job's environment.

    Example: `cosmotron sites check perlmutter --project m4722 --job`
    """
    from pipeline.planning.plan import RunOptions
    from pipeline.planning.preflight import job as room
    from pipeline.planning.preflight import login
    from pipeline.run import Run
    from pipeline.scheduler import connect

    where = load_site(site or None)
    folder = root or _scratch(where)
    scheduler = connect(where, Run(folder, "check"))
    options = RunOptions(project, qos, image=image)
    with screen.status("checking") as shown:
        rows = []
        for row in login(where, scheduler, folder, options):
            rows.append(row)
            shown.update(f"checked {row.name}")
        if job and not any(row.state == "failed" for row in rows):
            submitted = room.job(where, Run(folder, "check"), options)
            rows += room.run(
                where, scheduler, submitted, lambda it: shown.update(f"job {it.id}: {it.state}")
            )
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
    else:
        out.print(_table(rows))
    if any(row.state == "failed" for row in rows):
        raise SystemExit(int(Exit.FAILED))


def _scratch(site: Site) -> Path:
    """Return the folder for runs that the site declares.

    Raises:
        DeclarationError: It has a variable that is not set here.
    """
    folder = Path(os.path.expandvars(site.scratch)).expanduser()
    if "$" in str(folder):
        message = f"{site.name}: {site.scratch} is not set on this machine. Give a folder: --root."
        raise DeclarationError(message)
    return folder


def _table(rows: "list[Check]") -> Table:
    """Return the rows as a table, with what to do below each that did not pass."""
    table = Table("", "what", "found", box=None, pad_edge=False)
    for row in rows:
        colour = COLOURS[row.state]
        table.add_row(f"[{colour}]{row.state}[/]", row.name, row.found.replace("[", r"\["))
        if row.todo:
            table.add_row("", "", f"[{colour}]→[/] {row.todo}")
    return table
