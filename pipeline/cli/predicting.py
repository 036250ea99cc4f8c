"""The verb predict: score any files with a model that a run fine-tuned."""

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pipeline.cli.opening import RunName, opened
from pipeline.cli.screen import (
    AsJson,
    Image,
    Project,
    Root,
    SiteName,
    TaskName,
    as_hours,
    escaped,
    fail,
    out,
    screen,
)

if TYPE_CHECKING:
    from pipeline.planning.plan import Plan, RunOptions
    from pipeline.records import FileProgress, FilesPredicted, PredictRequest
    from pipeline.run import Run
    from pipeline.site import Site

ENDING = {"outcome", "message", "job_id"}  # of a result, which is always a finished one


def predict(
    run: RunName,
    task: TaskName,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILES", help="Files as the run's dataset reads them."),
    ],
    to: Annotated[Path, typer.Option("--to", help="The file to write: .parquet, .root or .npz.")],
    site: SiteName = None,
    root: Root = None,
    pilots: Annotated[
        bool,
        typer.Option("--pilots", help="Share the files among the workers of pilots of the site."),
    ] = False,
    project: Project = "",
    cap: Annotated[
        float | None,
        typer.Option(help="The cap on node-hours, of --pilots; default: the campaign's."),
    ] = None,
    image: Image = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    checks: Annotated[
        bool, typer.Option("--check/--no-check", help="Check the plan and the site before.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Score files with the model of a finished fine-tuning, on this machine or in pilots.

    The files are read and prepared as those of the dataset that it was fine-tuned on; labels may be
    missing. Each event is a row with its file and entry (docs/predictions.md). Events that a store
    would leave out are counted, and have no row. With --pilots each file is a part for a worker;
    the price is shown first, and reserved in and charged to the run's ledger. The file written is
    the same.

    Example: `cosmotron predict runs/quickstart tracking-m0-scratch-l240-s1 data/*.root --to
    tracks.parquet`
    """
    from pipeline.planning.plan import RunOptions
    from pipeline.release.predict import request

    what, where, folder = opened(run, site, root)
    wanted = request(what, folder, task, files, to)
    if pilots:
        options = RunOptions(project, cap_node_hours=cap or what.cap_node_hours, image=image)
        found = _in_pilots(wanted, where, folder, options, yes=yes, checks=checks)
    else:
        found = _here(wanted)
    if found is None:
        screen.print("Nothing was submitted.")
        return
    if as_json:
        typer.echo(found.model_dump_json(indent=2, exclude=ENDING))
        return
    for line in _lines(found, "each worker's model" if pilots else "the model"):
        out.print(escaped(line), highlight=False, soft_wrap=True)


def _here(wanted: "PredictRequest") -> "FilesPredicted":
    """Let a program on this machine predict, with a progress bar; return what it made."""
    from pipeline.release.predict import start

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    count = len(wanted.files)
    with Progress(*columns, TimeRemainingColumn(), console=screen, transient=True) as progress:
        bar = progress.add_task(f"{count:,} file(s)", total=count)

        def shown(each: "FileProgress") -> None:
            """Advance the bar."""
            progress.update(bar, completed=each.done)

        return start(wanted, shown)


def _in_pilots(
    wanted: "PredictRequest",
    site: "Site",
    run: "Run",
    options: "RunOptions",
    *,
    yes: bool,
    checks: bool,
) -> "FilesPredicted | None":
    """Let pilots predict; return what they made in how many seconds, None if not agreed."""
    from pipeline.workflow import predicting

    began = time.monotonic()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    made = predicting.task_of(wanted)
    try:
        found = predicting.drive(
            made,
            site,
            run,
            options,
            console=screen,
            agree=lambda plan: _agreed(plan, yes=yes),
            checks=checks,
        )
    except KeyboardInterrupt:
        fail("Interrupted. Predicted files stay; the same command goes on from here.", 130)
    seconds = time.monotonic() - began
    return None if found is None else found.model_copy(update={"seconds": seconds})


def _agreed(plan: "Plan", *, yes: bool) -> bool:
    """Show what the pilots may cost; ask where jobs are charged."""
    from pipeline.planning.plan import PILOT
    from pipeline.scheduler import batch_system

    (step,) = plan.steps
    pilot = plan.pilots(PILOT)
    screen.print(
        f"{step.task.key} on {plan.site.name}: up to {pilot.max_blocks} pilot(s) of "
        f"{pilot.nodes_per_block} node(s) × {pilot.walltime_minutes} min, at most "
        f"{as_hours(plan.node_hours)} node-hours.",
        highlight=False,
        soft_wrap=True,
    )
    return yes or not batch_system(plan.site).HAS_QUEUE or typer.confirm("Submit?")


def _lines(found: "FilesPredicted", model: str) -> list[str]:
    """Return what was made, in words; the rate is that of `model`."""
    rejected = ", ".join(
        f"{count:,} {name.replace('_', ' ')}" for name, count in found.rejected.items()
    )
    where = os.path.relpath(found.to)
    line = (
        f"{where if len(where) < len(found.to) else found.to}: {found.events:,} events of "
        f"{found.files:,} file(s) in {found.seconds:.1f} s; {model} took "
        f"{found.events_per_second:,.0f} events/s on {found.device}."
    )
    return [line, *([f"Left out or shortened, as when staged: {rejected}."] if rejected else [])]
