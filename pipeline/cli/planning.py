"""The verb plan: the jobs and node-hours of a campaign on a site, before any submission."""

import csv
import dataclasses
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipeline.cli import changing
from pipeline.cli.opening import opened
from pipeline.cli.screen import (
    AsJson,
    Bundle,
    CampaignName,
    Image,
    Only,
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
from pipeline.outcome import Exit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.budget.estimate import Estimate
    from pipeline.campaign import Campaign
    from pipeline.campaign.recipes import Compared
    from pipeline.campaign.tasks import Task
    from pipeline.planning.arithmetic import Sums
    from pipeline.planning.changes import Change
    from pipeline.planning.memory import Memory
    from pipeline.planning.overlaps import Finding
    from pipeline.planning.plan import Plan, Step
    from pipeline.planning.prediction_sizes import Sizes
    from pipeline.planning.selection import Part
    from pipeline.run import Run
    from pipeline.site import Site

SIZE_AND_SEED = re.compile(
    r"-d\d.*|-(scratch|head)-l\d.*|-s\d+$"
)  # what tells the tasks of one model apart
MOST_ROWS = 40  # of a table that is printed without --all


def plan(
    campaign: CampaignName,
    site: SiteName = None,
    root: Root = None,
    project: Project = "",
    qos: QosName = "",
    scripts: Annotated[
        Path | None,
        typer.Option(help="Write the batch scripts to this folder, as the site would get them."),
    ] = None,
    image: Image = "",
    bundle: Bundle = "cheapest",
    only: Only = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="One row per task, not per kind of task.")
    ] = False,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the tasks as CSV.")] = False,
) -> None:
    """Show the jobs and node-hours of a campaign on a site, before anything is submitted.

    Where trainings can share large jobs, a second table compares the ways to do so. MFU is the
    share of the devices' peak FLOP rate that a training must sustain to finish in its walltime.
    Where the campaign was changed since its run began, the last lines say what that means.

    Example: `cosmotron plan quickstart --site perlmutter --project m4722 --scripts scripts/`
    """
    from pipeline.campaign.recipes import compared
    from pipeline.planning import changes, event_counts, prediction_sizes, purge, selection, truth
    from pipeline.planning.arithmetic import estimates, sums
    from pipeline.planning.plan import RunOptions, make_plan

    if as_json and as_csv:
        fail("--json and --csv exclude each other.", Exit.USAGE)
    what, where, folder = opened(campaign, site, root)
    part = _fitted(selection.part(what, folder, only or (), elsewhere=True), what, where)
    tasks, meant, warnings = part.tasks, part.changes, _checked(what, part, folder)
    options = RunOptions(project, qos, image=image, bundle=bundle)
    planned = make_plan(tasks, folder, where, options, changes.begun(meant, tasks))
    memory, too_large = _memory(tasks, what, where)
    problems = [*event_counts.too_few(part), *truth.problems(planned), *too_large]
    found = estimates(planned, what)
    total = sums(planned, found, what.cap_node_hours)
    if scripts is not None:
        _write_scripts(planned, scripts, root)
    recipes, kept = compared(tasks), prediction_sizes.sizes(planned, what)
    rows = [_row(each, found, memory) | _meant(meant[each.task.key]) for each in planned.steps]
    if as_json:
        _print_json(planned, rows, total, what.cap_node_hours, recipes, warnings, kept, problems)
        return
    if as_csv:
        _print_csv(rows)
        return
    out.print(_steps(planned, found, memory, merged=not show_all))
    _print_sums(planned, total, found, what.cap_node_hours)
    _print_recipes(recipes)
    lines = [*kept.lines, *_parts(tasks), *warnings]
    lines += _block(changing.lines(meant, planned.steps))
    _print_lines([*lines, *purge.warnings(planned, part, time.time())])
    _check_truth(planned, problems)


def _fitted(part: "Part", campaign: "Campaign", site: "Site") -> "Part":
    """Return the part with the trainings that ask for it made to fit the devices of `site`."""
    from pipeline.planning import fitting

    return fitting.within(part, campaign, site)


def _memory(
    tasks: "Sequence[Task]", campaign: "Campaign", site: "Site"
) -> tuple[dict[str, "Memory"], list[str]]:
    """Return what trainings need on a device, by key, and a line for each that does not fit."""
    from pipeline.planning.fitting import too_large
    from pipeline.planning.memory import memories

    found = memories(tasks, campaign, site)
    return found, [*too_large(tasks, found, campaign, site)]


def _write_scripts(planned: "Plan", folder: Path, root: Path | None) -> None:
    """Write the batch scripts to `folder`; say what those for another machine need there."""
    from pipeline.planning import scripts

    elsewhere = scripts.is_elsewhere(planned.site, planned.run.root)
    if elsewhere:
        planned = scripts.on_its_machine(planned, root)
    written = scripts.write_scripts(planned, folder, elsewhere=elsewhere)
    screen.print(f"Wrote {len(written)} scripts to {folder}.")
    if elsewhere:
        screen.print(
            f"They are for {planned.site.title}, and run with the Cosmotron that is installed "
            f"there, in the run that `cosmotron run` has begun there: {planned.run.path}",
            highlight=False,
            soft_wrap=True,
        )


def _checked(campaign: "Campaign", part: "Part", run: "Run") -> list[str]:
    """Return what to know of tests on events that were, or may have been, trained on.

    Raises:
        DeclarationError: Models are tested on what they are trained on; or a store that the
            campaign takes is not there, not whole, or not what its dataset says.
    """
    from pipeline.planning import overlaps, shared_stores

    shared_stores.check(campaign, part.to_do, run)
    return _messages(*overlaps.check(part.every_task, run, allow=campaign.allow_overlap))


def _print_sums(
    planned: "Plan", total: "Sums", found: "Mapping[str, Estimate]", cap: float | None
) -> None:
    """Print the ways in which trainings can share jobs, and what the whole plan may cost."""
    if len(planned.layouts) > 1:
        out.print(_layouts(planned))
    for line in _sums(planned, total, found, cap):
        out.print(line, highlight=False, soft_wrap=True)


def _check_truth(planned: "Plan", problems: list[str]) -> None:
    """Print what is not known of the truth in the datasets; end with 2 if there are problems."""
    from pipeline.planning import truth

    for line in truth.unknown(planned):
        out.print(f"[bold]not known[/] {escaped(line)}", highlight=False, soft_wrap=True)
    if problems:
        fail("It cannot run as it is:\n  - " + "\n  - ".join(problems), Exit.USAGE)


def _print_json(
    planned: "Plan",
    rows: "Sequence[Mapping[str, Any]]",
    total: "Sums",
    cap: float | None,
    recipes: "Sequence[Compared]",
    warnings: list[str],
    kept: "Sizes",
    problems: list[str],
) -> None:
    """Print the plan as JSON."""
    from pipeline.planning import truth

    content = {
        "site": planned.site.name,
        "steps": rows,
        "pilot_node_hours": planned.pilot_node_hours,
        "node_hours": planned.node_hours,
        "cap_node_hours": cap,
        "by_arithmetic": dataclasses.asdict(total),
        "layouts": [dataclasses.asdict(each) for each in planned.layouts],
        "recipes": [dataclasses.asdict(each) for each in recipes],
        "predictions": dataclasses.asdict(kept),
        "tested_on_training_data": warnings,
        "problems": problems,
        "of_parts_of_batches": _parts([step.task for step in planned.steps]),
        "unknown": list(truth.unknown(planned)),
    }
    typer.echo(json.dumps(content, indent=2))


def _print_lines(lines: list[str]) -> None:
    """Print remarks, each after an empty line."""
    for line in lines:
        out.print(f"\n{escaped(line)}", highlight=False, soft_wrap=True)


def _block(lines: list[str]) -> list[str]:
    """Return `lines` as one remark, none where there are none."""
    return ["\n".join(lines)] if lines else []


def _meant(change: "Change") -> dict[str, Any]:
    """Return what the campaign means for a task, as entries of its JSON."""
    return {"meaning": change.meaning, "because": str(change)}


def _messages(found: "Sequence[Finding]", unknown: list[str]) -> list[str]:
    """Return what to know of tests on events that were, or may have been, trained on."""
    lines = [f"Allowed by allow_overlap: {each}." for each in found]
    return lines + [
        f"What the weights in {each} were trained on is not known: they may have seen the events "
        "that they are tested on."
        for each in unknown
    ]


def _parts(tasks: "Sequence[Task]") -> list[str]:
    """Return what of the trainings is learned of a part of each batch only."""
    from pipeline.campaign.together import divided

    return [f"{each}." for each in divided(tasks)]


def _print_recipes(recipes: "Sequence[Compared]") -> None:
    """Print where the trainings leave the published recipes of their families."""
    if recipes:
        out.print("\nBeside the published recipes (cosmotron models FAMILY shows them whole):")
    for each in recipes:
        out.print(f"- {each}", highlight=False, soft_wrap=True)


def _print_csv(rows: "Sequence[Mapping[str, Any]]") -> None:
    """Print the tasks as CSV."""
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "needs": " ".join(row["needs"])} for row in rows)


def _row(
    step: "Step", found: "Mapping[str, Estimate]", memory: "Mapping[str, Memory]"
) -> dict[str, Any]:
    """Return a step as a row of JSON or CSV; memory in GB of 10⁹ bytes on each device."""
    estimate, needs = found.get(step.task.key), memory.get(step.task.key)
    return {
        "task": step.task.key,
        "needs": step.task.needs,
        "shares": step.shares,
        "bundle": step.bundle,
        "qos": step.qos,
        "nodes": step.nodes,
        "links": step.links,
        "link_minutes": step.link_minutes,
        "node_hours": step.node_hours,
        "flops": estimate.flops if estimate is not None else None,
        "required_mfu": estimate.required_mfu if estimate is not None else None,
        "memory_gb": needs.total / 1e9 if needs is not None else None,
        "states_gb": needs.states / 1e9 if needs is not None else None,
        "activations_gb": needs.activations / 1e9 if needs is not None else None,
        "events_at_once": needs.events if needs is not None else None,
    }


def _steps(
    planned: "Plan",
    found: "Mapping[str, Estimate]",
    memory: "Mapping[str, Memory]",
    *,
    merged: bool,
) -> Table:
    """Return the table of tasks: how each runs, and its cost; similar ones `merged` in one row."""
    table = Table(box=None, pad_edge=False)
    titles = ["task", "runs as", "node-hours, at most", *(["MFU"] if found else [])]
    for column in [*titles, *([_of_device(planned)] if memory else [])]:
        table.add_column(column, overflow="fold")
    several = len({step.qos for step in planned.steps if not step.in_pilot}) > 1
    for steps in _rows(planned.steps, merged=merged):
        (first, *others) = steps
        name = first.task.key + (f" and {len(others):,} more" if others else "")
        price = "" if first.in_pilot else as_hours(sum(step.node_hours for step in steps))
        cells = [_mfu(steps, found)] * bool(found) + [_gb(steps, memory)] * bool(memory)
        table.add_row(name, _together(steps, with_queue=several), price, *cells)
    for shared in planned.kinds:
        pilots = planned.pilots(shared)
        table.add_row(
            f"{shared}s",
            f"up to {pilots.max_blocks} × {pilots.nodes_per_block} node(s) "
            f"× {pilots.walltime_minutes} min",
            as_hours(planned.node_hours_of(shared)),
        )
    table.add_row(
        "[bold]all[/]", f"on {planned.site.title}", f"[bold]{as_hours(planned.node_hours)}[/]"
    )
    return table


def _rows(steps: "Sequence[Step]", *, merged: bool) -> "list[list[Step]]":
    """Return the steps of each row of a table; similar ones of many `merged` in one."""
    merged = merged and len(steps) > MOST_ROWS
    kinds: dict[tuple[object, ...], list[Step]] = {}
    for step in steps:
        of_model = step.task.stage if step.in_pilot else SIZE_AND_SEED.sub("", step.task.key)
        kind = (of_model, step.shares, step.nodes, step.qos) if merged else (step.task.key,)
        kinds.setdefault(kind, []).append(step)
    return list(kinds.values())


def _together(steps: "Sequence[Step]", *, with_queue: bool) -> str:
    """Return how steps with the same nodes and queue run, and in which queue if wanted."""
    (first, *_) = steps
    queue = f", {first.qos}" if with_queue and first.qos else ""
    ways = {_as(step) for step in steps}
    if len(ways) == 1 or first.in_pilot:
        return _as(first) + queue
    links = _from_to([step.links for step in steps])
    if all(step.bundle for step in steps):
        return f"{links} × {_held(first)} of {len({step.bundle for step in steps})} bundles{queue}"
    minutes = _from_to([step.link_minutes for step in steps])
    return f"{links} × {first.nodes} node(s) × {minutes} min{queue}"


def _from_to(values: "Sequence[int]") -> str:
    """Return the least and the greatest of values."""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _as(step: "Step") -> str:
    """Return how a step runs."""
    if step.in_pilot:
        return f"in a {step.shares}"
    if step.bundle:
        return f"{step.links} × {_held(step)} of bundle {step.bundle}"
    return f"{step.links} × {step.nodes} node(s) × {step.link_minutes} min"


def _held(step: "Step") -> str:
    """Return what a part of a bundle has of its nodes."""
    return f"{step.processes_per_node} device(s)" if step.shares_node else f"{step.nodes} node(s)"


def _mfu(steps: "Sequence[Step]", found: "Mapping[str, Estimate]") -> str:
    """Return the MFU that the steps require, from the least to the most."""
    required = [found[step.task.key].required_mfu for step in steps if step.task.key in found]
    if not required:
        return ""
    low, high = f"{min(required):.0%}", f"{max(required):.0%}"
    return low if low == high else f"{low} to {high}"


def _of_device(planned: "Plan") -> str:
    """Return the title of the column of memory: what a device has, if the site says it."""
    has = planned.site.nodes[planned.training_role.node].device_memory_gb
    return f"GB of {has}" if has else "GB"


def _gb(steps: "Sequence[Step]", memory: "Mapping[str, Memory]") -> str:
    """Return the memory that the steps need on a device, GB, from the least to the most."""
    needs = [memory[step.task.key].total / 1e9 for step in steps if step.task.key in memory]
    if not needs:
        return ""
    low, high = (f"{each:.1f}" if each >= 0.1 else "0.1" for each in (min(needs), max(needs)))
    return low if low == high else f"{low} to {high}"


def _sums(
    planned: "Plan", total: "Sums", found: "Mapping[str, Estimate]", cap: float | None
) -> list[str]:
    """Return the total FLOPs and node-hours of the trainings, and what the cap leaves."""
    lines = []
    if total.node_hours:  # none of trainings that share the nodes of packs
        mean = sum(each.mfu * each.flops for each in found.values()) / total.flops
        measured = all(each.measured for each in found.values())
        source = "as measured" if measured else "a guess until it is measured"
        required = mean * total.arithmetic_node_hours / total.node_hours
        lines.append(
            f"\n{total.count} trainings of {total.flops:.2g} FLOP: "
            f"{as_hours(total.arithmetic_node_hours)} node-hours at an MFU of {mean:.0%}, "
            f"{source}; their walltimes add up to {as_hours(total.node_hours)} node-hours, "
            f"which is an MFU of {required:.0%}."
        )
    if len(total.by_precision) > 1:
        each = (f"{name} {as_hours(hours)}" for name, hours in total.by_precision.items())
        lines.append(
            f"All in one precision, at the MFU of the site file: {', '.join(each)} node-hours. "
            "Until it is measured, that of tf32 and bf16 is a hope: small matrices, scans and "
            "gathers gain less."
        )
    if cap is not None:
        left = cap - planned.node_hours
        lines.append(
            f"The campaign's cap is {as_hours(cap)} node-hours: {as_hours(abs(left))} "
            f"{'are left for retries' if left >= 0 else 'are missing'}."
        )
    if total.room is not None and total.count:
        lines.append(
            f"Within the cap these trainings can see {total.room:.2f} times as many events, or run "
            f"at {1 / total.room:.2f} times the MFU."
            if total.room > 0
            else "The cap leaves no room for these trainings at all."
        )
    return lines


def _layouts(planned: "Plan") -> Table:
    """Return the ways in which the trainings can share jobs, side by side, the one used first."""
    from pipeline.planning.bundling import unconfirmed

    site, role = planned.site, planned.training_role
    titles = ("\ntrainings, with start-ups", "\njobs", "\nnode-hours", "\nhours at least", "\n")
    table = Table(*titles, box=None, pad_edge=False)
    for index, each in enumerate(planned.layouts):
        doubts = [f"if confirmed: {note}" for note in unconfirmed(each, site, role)]
        remark = "; ".join([*([] if index else ["used"]), *doubts])
        hours = f"{each.hours:,.1f}"
        table.add_row(each.name, f"{each.jobs:,}", as_hours(each.node_hours), hours, remark)
    return table
