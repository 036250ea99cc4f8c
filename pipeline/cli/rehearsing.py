"""The verb rehearse: a campaign on a simulation of its site."""

import dataclasses
import json
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipeline.cli.opening import opened
from pipeline.cli.screen import (
    AsJson,
    Bundle,
    CampaignName,
    Project,
    QosName,
    SiteName,
    as_hours,
    escaped,
    fail,
    out,
    run_folder,
    screen,
)
from pipeline.outcome import Exit
from pipeline.site import Site, load_site

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.campaign import Campaign
    from pipeline.planning.plan import Plan
    from pipeline.rehearsal import Rehearsal
    from pipeline.rehearsal.policies import Policy
    from pipeline.run import Run


def rehearse(
    campaign: CampaignName,
    site: SiteName = None,
    project: Project = "rehearsal",
    qos: QosName = "",
    bundle: Bundle = "cheapest",
    cap: Annotated[
        float | None,
        typer.Option(help="The cap on node-hours; default: the campaign's."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The random seed of the first rehearsal.")] = 1,
    times: Annotated[
        int, typer.Option(min=1, help="How many rehearsals, each with its own seed.")
    ] = 1,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Rehearse each queue, each way to share jobs, and trunks, side by side.",
        ),
    ] = False,
    beside: Annotated[
        list[str] | None,
        typer.Option(metavar="<site>", help="Compare with another site; may be repeated."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the node-hours against the days here (.svg, .png).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a campaign on a simulation of its site: days, node-hours, and losses by cause.

    The planner, guard, chains and retries are the real ones; only the machine and the work are
    simulated: queues, failures, preemptions and maintenance follow the numbers of the site file.

    --compare shows the ways to run it side by side: queues, shared jobs, and, for a model that is
    trained on several data sizes, one trunk with a branch for each size.

    Example: `cosmotron rehearse quickstart --site frontier --times 10`
    """
    from pipeline.rehearsal.policies import Policy, default_queue

    what, where, run = opened(campaign, site, None)
    sites = [where, *map(load_site, beside or ())]
    limit = cap or what.cap_node_hours
    policy = Policy(where.name, qos or default_queue(where), bundle)
    compare = compare or bool(beside)
    plans, refused = _plans(what, run, sites, None if compare else policy, project, limit)
    if not plans:
        fail("\n".join(dict.fromkeys(refused.values())), Exit.USAGE)
    found = _rehearsed(plans, range(seed, seed + times))
    _draw(found, plot, limit)
    if as_json:
        _print_json(found)
    elif compare:
        _print_comparison(found, refused)
    else:
        _print_one(what.name, where, found[policy], times)
    if not compare and any(each.failed for each in found[policy]):
        raise SystemExit(int(Exit.FAILED))


def _print_json(found: "Mapping[Policy, Sequence[Rehearsal]]") -> None:
    """Print every rehearsal as JSON."""
    rows = [_as_json(policy, each) for policy, runs in found.items() for each in runs]
    typer.echo(json.dumps({"rehearsals": rows}, indent=2))


def _plans(
    what: "Campaign",
    run: "Run",
    sites: "Sequence[Site]",
    only: "Policy | None",
    project: str,
    cap: float | None,
) -> "tuple[dict[Policy, Plan], dict[Policy, str]]":
    """Return the plan of each policy, or of `only` one, and why sites refuse others.

    Raw files may be gone if the run knows them.
    """
    from pipeline.rehearsal.policies import plan_of, policies
    from pipeline.rehearsal.trunks import on_trunks

    folder, tasks = run_folder(what, sites[0], Path("rehearsal")), what.tasks(run, elsewhere=True)
    trunks = (False, True) if on_trunks(tasks, folder) != tasks else (False,)
    plans: dict[Policy, Plan] = {}
    refused: dict[Policy, str] = {}
    for site in {each.name: each for each in sites}.values():
        for policy in [only] if only is not None else policies(site, trunks):
            plan = plan_of(policy, tasks, folder, site, project=project, cap=cap)
            if isinstance(plan, str):
                refused[policy] = plan
            else:
                plans[policy] = plan
    return plans, refused


def _rehearsed(plans: "Mapping[Policy, Plan]", seeds: range) -> "dict[Policy, list[Rehearsal]]":
    """Return the rehearsals of each policy; equal plans are rehearsed once."""
    from rich.progress import track

    from pipeline.rehearsal import rehearse as play
    from pipeline.rehearsal.policies import is_same

    found: dict[Policy, list[Rehearsal]] = {}
    for policy in track(plans, "rehearsing", console=screen, transient=True):
        plan = plans[policy]
        same = next((each for each in found if is_same(plans[each], plan)), None)
        found[policy] = found[same] if same else [play(plan, seed) for seed in seeds]
    return found


def _draw(found: "dict[Policy, list[Rehearsal]]", plot: Path | None, cap: float | None) -> None:
    """Draw the first rehearsal of each policy to `plot`, if it names a file."""
    if plot is None:
        return
    from pipeline.rehearsal.picture import draw
    from pipeline.rehearsal.policies import by_outcome

    draw({name: runs[0] for name, runs in by_outcome(found).items()}, plot, cap)
    screen.print(f"Drew {plot}.")


def _as_json(policy: "Policy", rehearsal: "Rehearsal") -> dict[str, object]:
    """Return a rehearsal as JSON, without its jobs."""
    fields = dataclasses.asdict(dataclasses.replace(rehearsal, accounts=()))
    del fields["accounts"]
    return {**dataclasses.asdict(policy), **fields}


def _print_one(name: str, site: Site, runs: "Sequence[Rehearsal]", times: int) -> None:
    """Print one rehearsal, or the median of many."""
    from pipeline.rehearsal.policies import middle

    first = runs[0]
    days, hours = middle([each.hours / 24 for each in runs]), middle([e.node_hours for e in runs])
    of = "" if times == 1 else f", median of {times} rehearsals (80 % interval)"
    out.print(
        f"{name} on {site.title}{of}: {_range(days)} days, {_range(hours)} node-hours "
        f"({as_hours(first.planned_node_hours)} planned), {first.links:,} links in "
        f"{first.jobs:,} jobs, which waited {first.waited_hours / 24:,.0f} days in total.",
        highlight=False,
        soft_wrap=True,
    )
    table = Table("\nwent into", "\nnode-hours", "\nshare", box=None, pad_edge=False)
    for use in first.uses:
        table.add_row(use.into, as_hours(use.node_hours), f"{use.share:.1%}")
    out.print(table)
    out.print(f"\n{_assumed(site)}", highlight=False, soft_wrap=True)
    for key, reason in first.failed.items():
        if reason:
            screen.print(f"[bold red]failed[/] {key}: {escaped(reason)}", soft_wrap=True)
    if first.failed:
        screen.print(f"{len(first.failed)} tasks were not done.")


def _print_comparison(found: "dict[Policy, list[Rehearsal]]", refused: "dict[Policy, str]") -> None:
    """Print the policies side by side, the cheapest first, and what it saves.

    Each site has its own table: node-hours of different sites are not comparable.
    """
    from pipeline.rehearsal.policies import by_outcome

    for site in dict.fromkeys(policy.site for policy in found):
        here = {policy: runs for policy, runs in found.items() if policy.site == site}
        _table(by_outcome(here))
    failures: dict[str, list[str]] = {}
    for policy, runs in found.items():
        broken = next((each for each in runs if each.failed), None)
        reason = refused.get(policy) or (broken and next(filter(None, broken.failed.values()), ""))
        if reason:
            failures.setdefault(reason, []).append(str(policy))
    for reason, names in failures.items():
        screen.print(f"not {'; '.join(names)}: {escaped(reason)}", highlight=False, soft_wrap=True)


def _table(found: "Mapping[str, Sequence[Rehearsal]]") -> None:
    """Print the policies of one site side by side, without those that did not finish."""
    from pipeline.rehearsal.policies import lost_share

    rows = []
    for name, runs in found.items():
        whole = [each for each in runs if not each.failed]
        if whole:
            hours = median(each.node_hours for each in whole)
            rows.append((hours, median(each.hours / 24 for each in whole), name, whole))
    rows.sort(key=lambda row: row[:2])
    titles = ("policy", "node-hours", "days", "jobs", "wait per job, days", "lost")
    table = Table(*titles, box=None, pad_edge=False)
    for hours, days, name, whole in rows:
        lost = median(lost_share(each) for each in whole)
        waited = median(each.waited_hours / 24 / each.jobs for each in whole)
        jobs = f"{whole[0].jobs:,}"
        table.add_row(name, as_hours(hours), f"{days:,.1f}", jobs, f"{waited:,.1f}", f"{lost:.1%}")
    out.print(table)
    if len(rows) > 1:
        (cheap, _, best, _), (dear, _, worst, _) = rows[0], rows[-1]
        out.print(
            f"\nCheapest: {best}. It saves {as_hours(dear - cheap)} node-hours "
            f"({(dear - cheap) / dear:.0%}) over: {worst}.\n",
            highlight=False,
            soft_wrap=True,
        )


def _range(values: tuple[float, float, float]) -> str:
    """Return the median, and the 80 % interval unless all values are equal."""
    low, typical, high = (as_hours(each) for each in values)
    return typical if low == high else f"{typical} ({low} to {high})"


def _assumed(site: Site) -> str:
    """Return the assumptions of a rehearsal."""
    from pipeline.planning.pilots import MINUTES
    from pipeline.rehearsal.rehearse import SPREAD, TAKES

    queue = site.qos.get(site.training.qos)
    waits = (queue.waits if queue is not None else ()) or site.waits
    mean = ", ".join(f"{w.mean_hours:g} h from {w.from_nodes} node(s)" for w in waits) or "none"
    minutes = ", ".join(f"{stage} {value:g} min" for stage, value in MINUTES.items())
    return (
        f"Assumed: a training takes {TAKES:.0%} of its declared walltime, give or take "
        f"{SPREAD:.0%}; {minutes}; {site.link_overhead_minutes:g} min until a link's first step; "
        f"{site.node_failures:g} failures per 1000 node-days; mean wait in the queue: {mean}. "
        f"See sites/{site.name}.toml."
    )
