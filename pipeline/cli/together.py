"""The verbs report and budget of one campaign in several run folders, one on each machine."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer
from rich.table import Table

from pipeline.catalog import DeclarationError
from pipeline.cli.opening import each_opened
from pipeline.cli.screen import as_hours, escaped, out, screen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.budget.summary import By
    from pipeline.campaign import Campaign
    from pipeline.report.machines import Together
    from pipeline.run import Run
    from pipeline.site import Site

    Opened = tuple[Campaign, list[tuple[Run, Site]]]


def all_opened(names: "Sequence[str]", site: str | None, root: Path | None) -> "Opened":
    """Return the campaign of the first of some runs, and the folder and site of each.

    Raises:
        DeclarationError: One is no run, is named twice, or is of a campaign of another name.
    """
    found = each_opened(names, site, root)
    campaign = found[0][0]
    for name, (what, _, _) in zip(names, found, strict=True):
        if what.name != campaign.name:
            message = f"{name}: a run of {what.name}, and {names[0]} is of {campaign.name}."
            raise DeclarationError(message)
    return campaign, [(run, where) for _, where, run in found]


def report(names: "Sequence[str]", site: str | None, root: Path | None, form: str) -> None:
    """Write the page of several runs together, or print their results."""
    from pipeline.report import write_report
    from pipeline.report.machines import labelled

    campaign, runs = all_opened(names, site, root)
    (run, where), *others = runs
    if form == "html":
        typer.echo(write_report(run, campaign, where, others=others))
        return
    from pipeline.report.tables import results_as

    chosen: Literal["json", "csv", "latex"] = form  # type: ignore[assignment] # as the option says
    text, notes = results_as(run, campaign, chosen, labelled(runs))
    typer.echo(text, nl=False)
    _print_notes(notes)


def budget(
    names: "Sequence[str]", site: str | None, root: Path | None, by: "By", *, as_json: bool
) -> None:
    """Print the ledgers of several runs side by side; node-hours of two machines are never added.

    They are shown as they are: each is settled on its machine.
    """
    from pipeline.budget.summary import summary_of
    from pipeline.report.machines import gather, labelled
    from pipeline.report.reader import Reader

    campaign, runs = all_opened(names, site, root)
    reader = Reader()
    together = gather(labelled(runs), campaign, reader)
    rows = {
        each.label: summary_of(together.accounts_of[each.label], by) for each in together.machines
    }
    if as_json:
        content: dict[str, Any] = {
            "by": by,
            "runs": [
                {
                    "run": str(each.run.path),
                    "label": each.label,
                    "rows": [dataclasses.asdict(row) for row in rows[each.label]],
                }
                for each in together.machines
            ],
            "ran_at": {each.key: each.ran_at for each in together.tasks},
            "notes": [*together.notes, *reader.problems],
        }
        typer.echo(json.dumps(content, indent=2))
        return
    table = Table("run", "site", by, "jobs", "reserved", "charged", "states", box=None)
    for each in together.machines:
        for row in rows[each.label]:
            states = ", ".join(f"{count} {state}" for state, count in row.states.items())
            hours = (as_hours(row.reserved_node_hours), as_hours(row.charged_node_hours))
            table.add_row(str(each.run.path), row.site, row.group, str(row.jobs), *hours, states)
    out.print(table)
    _print_sums(together)
    _print_notes([*together.notes, *reader.problems])


def _print_sums(together: "Together") -> None:
    """Print what each site charged, and how many tasks ran there."""
    sites = dict.fromkeys(each.site for each in together.accounts)
    for site in sites:
        mine = [each for each in together.accounts if each.site == site]
        charged = as_hours(sum(each.charged_node_hours for each in mine))
        ran = sum(site in each.ran_at.split(", ") for each in together.tasks)
        out.print(
            f"{site}: {charged} node-hours charged, {ran} task(s) ran there.", highlight=False
        )
    if len(sites) > 1:
        out.print("Node-hours of different machines are not the same thing: they are not added.")


def _print_notes(notes: "Sequence[str]") -> None:
    for note in notes:
        screen.print(f"[bold]note[/] {escaped(note)}", highlight=False, soft_wrap=True)
