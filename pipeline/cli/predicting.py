"""The verb predict: score any files with a model that a run fine-tuned."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pipeline.cli.opening import RunName, opened
from pipeline.cli.screen import AsJson, Root, SiteName, TaskName, escaped, out, screen

if TYPE_CHECKING:
    from pipeline.records import FileProgress, FilesPredicted


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
    as_json: AsJson = False,
) -> None:
    """Score files with the model of a finished fine-tuning, on this machine.

    The files are read and prepared as those of the dataset that it was fine-tuned on; labels may be
    missing. Each event is a row with its file and entry (docs/predictions.md). Events that a store
    would leave out are counted, and have no row.

    Example: `cosmotron predict runs/quickstart tracking-m0-scratch-l240-s1 data/*.root --to
    tracks.parquet`
    """
    from pipeline.release.predict import request, start

    what, _, folder = opened(run, site, root)
    asked = request(what, folder, task, files, to)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeRemainingColumn(), console=screen, transient=True) as progress:
        bar = progress.add_task(f"{len(files):,} file(s)", total=len(files))

        def shown(each: "FileProgress") -> None:
            progress.update(bar, completed=each.done)

        found = start(asked, shown)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    for line in _lines(found):
        out.print(escaped(line), highlight=False, soft_wrap=True)


def _lines(found: "FilesPredicted") -> list[str]:
    """Return what was made, in words."""
    rejected = ", ".join(
        f"{count:,} {name.replace('_', ' ')}" for name, count in found.rejected.items()
    )
    where = os.path.relpath(found.to)
    line = (
        f"{where if len(where) < len(found.to) else found.to}: {found.events:,} events of "
        f"{found.files:,} file(s) in {found.seconds:.1f} s; the model took "
        f"{found.events_per_second:,.0f} events/s on {found.device}."
    )
    return [line, *([f"Left out or shortened, as when staged: {rejected}."] if rejected else [])]
