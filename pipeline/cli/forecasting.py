"""The verb forecast: the final cost and the end date of a running campaign."""

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipeline.cli.budgeting import print_breakdown
from pipeline.cli.opening import opened
from pipeline.cli.screen import (
    AsJson,
    Bundle,
    CampaignName,
    Project,
    QosName,
    Root,
    SiteName,
    as_hours,
    escaped,
    fail,
    out,
    screen,
)
from pipeline.clock import moment
from pipeline.outcome import Exit
from pipeline.site import Site

DAY = 86_400.0

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.budget.breakdown import Breakdown
    from pipeline.budget.calendar import TimeSpent
    from pipeline.budget.forecast import Interval
    from pipeline.campaign import Campaign
    from pipeline.planning.plan import Plan, RunOptions
    from pipeline.rehearsal.forecast import RehearsedForecast
    from pipeline.rehearsal.snapshot import Snapshot
    from pipeline.run import Run


def forecast(
    campaign: CampaignName,
    site: SiteName = None,
    root: Root = None,
    project: Project = "forecast",
    qos: QosName = "",
    bundle: Bundle = "cheapest",
    cap: Annotated[
        float | None,
        typer.Option(help="Warn beyond this many node-hours; default: the campaign's cap."),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=5, help="How many rehearsals of the rest to run.")
    ] = 40,
    seed: Annotated[int, typer.Option(help="The random seed.")] = 1,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the node-hours, spent and expected (.svg, .png).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Forecast the final cost and end of a campaign, with the interval of 4 of 5 outcomes.

    Many rehearsals of the rest use the pace, waits and failures of the campaign's own jobs so far;
    what these leave uncertain is sampled. Below stands where the time went so far: jobs ran, waited
    in the queue, or nothing was submitted.

    The exit code is 1 if the median outcome exceeds the cap, or the end of the allocation
    (allocation_ends).

    Example: `cosmotron forecast quickstart --site perlmutter --plot burn-down.svg`
    """
    from pipeline.budget.forecast import keep
    from pipeline.planning.plan import RunOptions
    from pipeline.rehearsal.forecast import forecast as foresee

    what, where, folder = opened(campaign, site, root)
    _check_begun(campaign, where, folder)
    planned, now, unheard = _as_it_is(what, folder, where, RunOptions(project, qos, bundle=bundle))
    if unheard:
        screen.print(f"[bold]note[/] {escaped(unheard)}", highlight=False, soft_wrap=True)
    if all(share >= 1 for share in now.shares.values()):
        screen.print("All tasks are done: see cosmotron budget.")
        return
    with screen.status("rehearsing the rest"):
        found = foresee(planned, now, samples=samples, seed=seed)
    keep(found, folder)
    limit = cap or what.cap_node_hours
    if plot is not None:
        _draw(planned, now, found, plot, limit)
    _show(what.name, found, _so_far(planned, now, limit), limit, as_json=as_json)
    warnings = list(_warnings(found, limit, what.allocation_ends))
    for _, words in warnings:
        screen.print(f"[bold red]{words}", soft_wrap=True, highlight=False)
    if any(likely for likely, _ in warnings):
        raise SystemExit(int(Exit.FAILED))


def _as_it_is(
    campaign: "Campaign", run: "Run", site: Site, options: "RunOptions"
) -> "tuple[Plan, Snapshot, str]":
    """Return the plan of a campaign, what is done of it, and the error of a silent scheduler.

    What a changed campaign replaces is not done.
    """
    from pipeline.planning import changes
    from pipeline.planning.plan import make_plan
    from pipeline.rehearsal.poll import poll

    tasks = campaign.tasks(run, elsewhere=True)
    meant = changes.compare(tasks, run)
    planned = make_plan(tasks, run, site, options, changes.begun(meant, tasks))
    now, unheard = poll(planned)
    shares = {**now.shares, **changes.done_shares(meant, tasks)}
    return planned, dataclasses.replace(now, shares=shares), unheard


@dataclass(frozen=True)
class SoFar:
    """Where the time of a campaign went until now, and how its allocation stands."""

    days: "Sequence[TimeSpent]"
    breakdown: "Breakdown"


def _so_far(planned: "Plan", now: "Snapshot", limit: float | None) -> SoFar:
    """Return what happened on the site of a plan until a snapshot."""
    from pipeline.attendance import lives
    from pipeline.budget.breakdown import breakdown
    from pipeline.budget.calendar import days, spans
    from pipeline.chains.remaining_cost import committed_by

    finished = [key for key, share in now.shares.items() if share >= 1]
    here = [each for each in now.accounts if each.site == planned.site.name]
    went = days(spans(here, lives(planned.run), now.now))
    return SoFar(went, breakdown(here, committed_by(planned, finished), limit))


def _show(
    name: str, found: "RehearsedForecast", so_far: SoFar, limit: float | None, *, as_json: bool
) -> None:
    """Print the forecast, how the allocation stands, and where the time went."""
    if as_json:
        content = {"cap": limit, **dataclasses.asdict(found), **dataclasses.asdict(so_far)}
        content["time_so_far"] = content.pop("days")
        typer.echo(json.dumps(content | {"days": dataclasses.asdict(found.days)}, indent=2))
        return
    _print(name, found)
    print_breakdown(found.site, so_far.breakdown, limit)
    _print_days(so_far.days)


def _print_days(went: "Sequence[TimeSpent]") -> None:
    """Print where the time of the campaign went so far."""
    if went:
        table = Table(
            "\nwhere the time went", "\ndays", "\nshare", "longest at a stretch", box=None
        )
        for each in went:
            longest = f"{each.longest.seconds / DAY:.2f} from {moment(each.longest.begin)}"
            table.add_row(each.what, f"{each.seconds / DAY:.2f}", f"{each.share:.0%}", longest)
        out.print(table)


def _check_begun(campaign: str, site: Site, run: "Run") -> None:
    """Exit with a message if no job was submitted yet."""
    if not run.ledger.is_dir():
        first = f"cosmotron rehearse {campaign} --site {site.name}"
        message = f"{run.ledger}: no ledger, because no job was submitted yet. First: {first}"
        fail(message, Exit.USAGE)


def _draw(
    planned: "Plan", now: "Snapshot", found: "RehearsedForecast", plot: Path, limit: float | None
) -> None:
    """Draw the node-hours, spent and expected."""
    from pipeline.rehearsal.forecast import so_far
    from pipeline.report.spending import spending_chart

    plot.parent.mkdir(parents=True, exist_ok=True)
    spending_chart(so_far(planned, now), found, limit).savefig(plot, dpi=150)
    screen.print(f"Drew {plot}.")


def _warnings(
    found: "RehearsedForecast", limit: float | None, last: date | None
) -> "Iterator[tuple[bool, str]]":
    """Yield (is likely, message) for the cap and the allocation's end, if they may be exceeded."""
    if limit is not None and found.node_hours.high > limit:
        likely = found.node_hours.middle > limit
        where = f"beyond the cap[/] of {as_hours(limit)} node-hours in {_share(likely=likely)}"
        yield likely, f"{where}. Raise it, or drop some tasks: no job is submitted beyond it."
    if last is not None and _day(found.now, found.days.high) > last:
        likely = _day(found.now, found.days.middle) > last
        where = f"after the allocation's end[/] on {last} in {_share(likely=likely)}"
        ways = "choose a faster queue (cosmotron rehearse --compare), or drop some tasks"
        yield likely, f"{where}. Ask for an extension, {ways}."


def _share(*, likely: bool) -> str:
    return "the median outcome" if likely else "some outcomes"


def _day(now: float, days: float) -> date:
    """Return the day that many days from now."""
    return (datetime.fromtimestamp(now, UTC) + timedelta(days=days)).date()


def _print(name: str, found: "RehearsedForecast") -> None:
    """Print the forecast, and the rates behind it."""
    days = found.days
    dates = [_day(found.now, each) for each in (days.middle, days.low, days.high)]
    rates = found.rates
    out.print(
        f"{name}: {_range(found.node_hours)} node-hours in all, of which "
        f"{as_hours(found.spent_node_hours)} are spent; done in {_range(found.days)} days, on "
        f"{dates[0]} (80 %: {dates[1]} to {dates[2]}).\n"
        f"Judging by its jobs so far, trainings take {rates.work:.2f} times the assumed time, "
        f"waits in the queue {rates.waits:.2f} times, and nodes fail {rates.failures:.2f} times "
        "as often.",
        highlight=False,
        soft_wrap=True,
    )


def _range(interval: "Interval") -> str:
    """Return the median outcome, and the interval of most outcomes."""
    low, middle, high = map(as_hours, (interval.low, interval.middle, interval.high))
    return f"{middle} (80 %: {low} to {high})"
