"""The verb budget: the ledger by rows, the use of its node-hours, and the site's balance."""

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from pipeline.cli import together
from pipeline.cli.opening import RunNames, opened
from pipeline.cli.screen import (
    AsJson,
    Project,
    Root,
    SiteName,
    as_hours,
    fail,
    out,
    screen,
)
from pipeline.cli.settling import restored, settled
from pipeline.outcome import Exit
from pipeline.site import Site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.budget.account import Account
    from pipeline.budget.balance import Drift
    from pipeline.budget.breakdown import Breakdown
    from pipeline.budget.ledger import Ledger
    from pipeline.budget.summary import Row
    from pipeline.budget.use import Use
    from pipeline.campaign import Campaign
    from pipeline.run import Run

By = Literal["stage", "cell", "task", "seed", "user"]
Grouped = Annotated[
    By,
    typer.Option(
        "--by", help="One row per stage, cell, task, seed or user; a cell is a task with all seeds."
    ),
]
Balance = Annotated[
    str,
    typer.Option(
        "--balance",
        metavar="ask|<file>",
        help="Compare with the project's balance, from the site or a file.",
    ),
]
Recover = Annotated[
    bool, typer.Option("--recover", help="Find again what lost or damaged records said, first.")
]
JOULES_PER_KWH = 3.6e6
ASK = "ask"


def budget(
    runs: RunNames,
    site: SiteName = None,
    root: Root = None,
    project: Project = "",
    by: Grouped = "stage",
    balance: Balance = "",
    as_json: AsJson = False,
    recover: Recover = False,
) -> None:
    """Show the node-hours reserved and charged, from the ledger, after asking accounting.

    Jobs that ended while no controller lived are charged now. Without an answer of the scheduler,
    on another machine for example, the ledger alone is shown.

    A second table shows what this site's node-hours went into: steps that count, start-ups, and
    losses by cause. The last line has what is settled, in flight, committed to what is left, and
    free of the cap. With --balance the exit code is 1 if the site has charged less than the ledger
    for jobs that its balance must include by now.

    Of several run folders of one campaign the ledgers are shown side by side, as they are.

    Example: `cosmotron budget quickstart --by seed`
    """
    from pipeline.budget.ledger import Ledger
    from pipeline.budget.summary import summary
    from pipeline.budget.use import uses, workers_of

    if len(runs) > 1:
        _together(runs, site, root, by, as_json=as_json, alone=bool(balance or recover))
        return
    (campaign,) = runs
    what, where, folder = opened(campaign, site, root)
    if recover:
        restored(folder, where)
    settled(folder, where)
    ledger = Ledger(folder.ledger)
    rows = summary(ledger, by)
    ours = [each for each in ledger.accounts().values() if each.site == where.name]
    went_into, stands = uses(ours, folder, workers_of(where)), _breakdown(what, folder, where, ours)
    drift = _drift(where, project, ledger, balance) if balance else None
    if as_json:
        _print_json(rows, by, went_into, drift, stands)
    elif rows:
        _print(rows, by, where.name, went_into)
        print_breakdown(where.name, stands, what.cap_node_hours)
    else:
        screen.print(f"No record yet. Start with: cosmotron run {campaign}")
    if drift is not None:
        _judge(drift, where, quietly=as_json)


def _together(
    runs: list[str], site: str | None, root: Path | None, by: By, *, as_json: bool, alone: bool
) -> None:
    """Show the ledgers of several runs; some options are for a single one."""
    if alone:
        fail("--balance and --recover are of one run. Name it alone.", Exit.USAGE)
    together.budget(runs, site, root, by, as_json=as_json)


def _judge(drift: "Drift", site: Site, *, quietly: bool) -> None:
    """Print the balance; exit with 1 if it lacks what the ledger charged."""
    if not quietly:
        _print_balance(drift, site)
    if drift.missing:
        raise SystemExit(int(Exit.FAILED))


def _breakdown(
    campaign: "Campaign", run: "Run", site: Site, accounts: "Sequence[Account]"
) -> "Breakdown":
    """Return what is settled, in flight, committed and free, by a plan of what is left."""
    from pipeline.budget.breakdown import breakdown
    from pipeline.chains.remaining_cost import committed_by
    from pipeline.planning import changes
    from pipeline.planning.plan import RunOptions, make_plan

    tasks = campaign.tasks(run, elsewhere=True)
    meant = changes.compare(tasks, run)
    plan = make_plan(tasks, run, site, RunOptions(), changes.begun(meant, tasks))
    finished = [key for key, each in meant.items() if each.meaning not in changes.TO_DO]
    return breakdown(accounts, committed_by(plan, finished), campaign.cap_node_hours)


def print_breakdown(site: str, stands: "Breakdown", cap_node_hours: float | None) -> None:
    """Print what of an allocation is settled, in flight, committed and free."""
    free = ""
    if stands.free is not None and cap_node_hours is not None:
        free = f"; {as_hours(stands.free)} free of {as_hours(cap_node_hours)}"
    out.print(
        f"\n{site}: {as_hours(stands.settled)} node-hours settled, {as_hours(stands.in_flight)} in "
        f"flight, at most {as_hours(stands.committed)} committed to what is left{free}.",
        highlight=False,
        soft_wrap=True,
    )


def _print_json(
    rows: "Sequence[Row]",
    by: By,
    went_into: "Sequence[Use]",
    drift: "Drift | None",
    stands: "Breakdown",
) -> None:
    """Print the ledger, the uses, the breakdown and the balance as JSON."""
    content: dict[str, Any] = {
        "by": by,
        "rows": [dataclasses.asdict(row) for row in rows],
        "uses": [dataclasses.asdict(use) for use in went_into],
        "breakdown": dataclasses.asdict(stands),
    }
    if drift is not None:
        content["balance"] = {**dataclasses.asdict(drift), "missing": drift.missing}
    typer.echo(json.dumps(content, indent=2, default=str))


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
    amounts = [
        as_hours(sum(row.reserved_node_hours for row in rows)),
        as_hours(sum(row.charged_node_hours for row in rows)),
    ]
    if energy:
        known = [row.energy_joules for row in rows if row.energy_joules is not None]
        amounts.append(as_hours(sum(known) / JOULES_PER_KWH) if known else "")
    return amounts


def _drift(site: Site, project: str, ledger: "Ledger", source: str) -> "Drift":
    """Return how the ledger differs from the site's balance, from a file or its command."""
    from pipeline.budget.balance import drift as difference
    from pipeline.budget.balance import read_balance
    from pipeline.planning.preflight.check import called

    if not project:
        fail("--balance needs the project that pays. Give it with --project.", Exit.USAGE)
    if site.balance_format is None:
        fail(f"{site.name} declares no balance_format: its balance cannot be read.", Exit.USAGE)
    if source != ASK:
        text = _content(Path(source))
    elif site.balance_command:
        done = called(["bash", "-lc", site.balance_command])
        text = done.out
        if done.code:
            problem = f"`{site.balance_command}` ended with exit code {done.code}: {done.words}"
            todo = "If not, save its output there and give the file."
            fail(f"{problem}. Is this {site.title}? {todo}", code=1)
    else:
        problem = f"{site.name} has no command that prints the balance."
        fail(f"{problem} Save it as {site.balance_format} and give the file.", Exit.USAGE)
    found = read_balance(site.balance_format, text, project, site.name)
    now, lag_hours = time.time(), site.balance_lag_hours
    begins = site.allocation_year_begins
    return difference(found, ledger.accounts(), site.name, now, lag_hours, begins)


def _content(path: Path) -> str:
    """Return the text of a file that the user named."""
    if not path.is_file():
        fail(f"--balance {path}: no such file.", Exit.USAGE)
    return path.read_text()


def _print_balance(drift: "Drift", site: Site) -> None:
    """Print the site's balance, and any node-hours that it lacks."""
    found = drift.balance
    mine = "" if found.mine is None else f", {as_hours(found.mine)} of them by you"
    out.print(
        f"\n{found.project} on {site.name}: {as_hours(found.left)} node-hours left of "
        f"{as_hours(found.granted)}; {as_hours(found.used)} used{mine}.\n"
        f"The ledger has charged this campaign {as_hours(drift.settled)} node-hours that the "
        f"balance must include by now, and {as_hours(drift.pending)} in the last "
        f"{site.balance_lag_hours:.0f} hours{_earlier(drift)}.",
        highlight=False,
        soft_wrap=True,
    )
    if drift.missing:
        out.print(
            f"[bold red]drift[/] the site has charged {as_hours(drift.missing)} node-hours less "
            "than the ledger: it refunded jobs, or another project paid for them. List them with "
            "--by task.",
            highlight=False,
            soft_wrap=True,
        )


def _earlier(drift: "Drift") -> str:
    """Return the node-hours charged before the balance began to count, empty without any."""
    if drift.since is None or not drift.earlier:
        return ""
    began = time.strftime("%Y-%m-%d", time.localtime(drift.since))
    return f"; {as_hours(drift.earlier)} more before the balance began to count, on {began}"
