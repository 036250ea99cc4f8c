"""The verb budget: what the ledger holds, what that went into, and the site's balance beside."""

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from pipeline.cli.screen import (
    AsJson,
    CampaignName,
    Project,
    Root,
    SiteName,
    as_hours,
    fail,
    known_campaign,
    out,
    run_folder,
    screen,
)
from pipeline.outcome import Exit
from pipeline.site import Site, load_site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.budget.balance import Drift
    from pipeline.budget.ledger import Ledger
    from pipeline.budget.summary import Row
    from pipeline.budget.use import Use

By = Literal["stage", "cell", "task", "seed"]
JOULES_PER_KWH = 3.6e6
ASK = "ask"


def budget(
    campaign: CampaignName,
    site: SiteName = None,
    root: Root = None,
    project: Project = "",
    by: Annotated[
        By, typer.Option(help="What stands in a row; a cell is all its seeds.")
    ] = "stage",
    balance: Annotated[
        str,
        typer.Option(
            metavar="ask|<file>",
            help="Set the project's balance beside: ask the site, or read what it printed.",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Show the node-hours reserved and charged, from the ledger; nothing is asked or changed.

    And what those of this site went into: steps that count, start-ups, and what was lost to what.
    With --balance it ends with 1 if the site has charged less than the ledger for jobs that it must
    know by now.

    Example: `cosmotron budget quickstart --by seed`
    """
    from pipeline.budget.ledger import Ledger  # noqa: PLC0415
    from pipeline.budget.summary import summary  # noqa: PLC0415
    from pipeline.budget.use import uses, workers_of  # noqa: PLC0415

    what, where = known_campaign(campaign), load_site(site)
    folder = run_folder(what, where, root)
    ledger = Ledger(folder.ledger)
    rows = summary(ledger, by)
    ours = [each for each in ledger.accounts().values() if each.site == where.name]
    went_into = uses(ours, folder, workers_of(where))
    beside = _beside(where, project, ledger, balance) if balance else None
    if as_json:
        told: dict[str, Any] = {
            "by": by,
            "rows": [dataclasses.asdict(row) for row in rows],
            "uses": [dataclasses.asdict(use) for use in went_into],
        }
        if beside is not None:
            told["balance"] = {**dataclasses.asdict(beside), "missing": beside.missing}
        typer.echo(json.dumps(told, indent=2))
    elif rows:
        _print(rows, by, where.name, went_into)
    else:
        screen.print(f"No record yet. Start with: cosmotron run {campaign}")
    if beside is not None and not as_json:
        _print_balance(beside, where)
    if beside is not None and beside.missing:
        raise SystemExit(int(Exit.FAILED))


def _print(rows: "Sequence[Row]", by: By, site: str, went_into: "Sequence[Use]") -> None:
    """Print the rows, the sum of each site, and what the hours of `site` went into."""
    energy = any(row.energy_joules is not None for row in rows)
    titles = ("site", by, "jobs", "reserved", "charged", *(("kWh",) if energy else ()), "states")
    table = Table(*titles, box=None)
    for row in rows:
        states = ", ".join(f"{count} {state}" for state, count in row.states.items())
        table.add_row(row.site, row.group, str(row.jobs), *_amounts([row], energy=energy), states)
    for name in dict.fromkeys(row.site for row in rows):
        reserved, charged, *kwh = _amounts([r for r in rows if r.site == name], energy=energy)
        table.add_row(name, "[bold]all[/]", "", reserved, f"[bold]{charged}[/]", *kwh, "node-hours")
    out.print(table)
    if went_into:
        into = Table(f"\n{site} went into", "\nnode-hours", "\nshare", box=None)
        for use in went_into:
            into.add_row(use.into, as_hours(use.node_hours), f"{use.share:.1%}")
        out.print(into)


def _amounts(rows: "Sequence[Row]", *, energy: bool) -> list[str]:
    """Return the node-hours of rows, reserved and charged, and their kWh if any are known."""
    told = [
        as_hours(sum(row.reserved_node_hours for row in rows)),
        as_hours(sum(row.charged_node_hours for row in rows)),
    ]
    if energy:
        known = [row.energy_joules for row in rows if row.energy_joules is not None]
        told.append(as_hours(sum(known) / JOULES_PER_KWH) if known else "")
    return told


def _beside(site: Site, project: str, ledger: "Ledger", source: str) -> "Drift":
    """Return the ledger beside the site's balance, from a file or from the site's command."""
    from pipeline.budget.balance import drift, read_balance  # noqa: PLC0415
    from pipeline.planning.preflight.check import printed  # noqa: PLC0415

    if not project:
        fail("--balance: whose? Name the project that pays: --project.", Exit.USAGE)
    if site.balance_format is None:
        fail(f"{site.name} declares no balance_format: its balance cannot be read.", Exit.USAGE)
    if source != ASK:
        text = Path(source).read_text()
    elif site.balance_command:
        code, text = printed(["bash", "-lc", site.balance_command])
        if code:
            told = f"`{site.balance_command}` ended with {code}: {text}"
            fail(f"{told}. Is this {site.title}? Else save its print, and name the file.", code=1)
    else:
        told = f"{site.name} has no command that prints the balance."
        fail(f"{told} Save it as {site.balance_format}, and name the file.", Exit.USAGE)
    found = read_balance(site.balance_format, text, project, site.name)
    return drift(found, ledger.accounts(), site.name, time.time(), site.balance_lag_hours)


def _print_balance(beside: "Drift", site: Site) -> None:
    """Print the site's balance, and whether the ledger agrees with it."""
    found = beside.balance
    mine = "" if found.mine is None else f", {as_hours(found.mine)} of them by you"
    out.print(
        f"\n{found.project} on {site.name}: {as_hours(found.left)} node-hours left of "
        f"{as_hours(found.granted)}; {as_hours(found.used)} used{mine}.\n"
        f"This campaign was charged {as_hours(beside.settled)} that the site must know by now, and "
        f"{as_hours(beside.pending)} in its last {site.balance_lag_hours:.0f} hours.",
        highlight=False,
        soft_wrap=True,
    )
    if beside.missing:
        out.print(
            f"[bold red]drift[/] the site knows {as_hours(beside.missing)} node-hours less than "
            "the ledger: jobs that it gave back, or that another project paid. Look at them with "
            "--by task.",
            highlight=False,
            soft_wrap=True,
        )
