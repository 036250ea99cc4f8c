"""`cosmotron report --figures`: the figures of the page as files."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipeline.cli.screen import fail, screen
from pipeline.outcome import Exit, RunError

if TYPE_CHECKING:
    from pipeline.campaign import Campaign
    from pipeline.drawing.figure import StyleName
    from pipeline.run import Run
    from pipeline.site import Site


def write(
    campaign: "Campaign", runs: "list[tuple[Run, Site]]", folder: Path, style: "StyleName"
) -> None:
    """Write the figures of a campaign's runs into `folder`, with a bar, and print the files."""
    from rich.progress import Progress

    try:
        from pipeline.report.figures import write_figures
    except ModuleNotFoundError as error:
        message = f"Figures need {error.name}. Install it with: pip install 'cosmotron[report]'"
        raise RunError(message) from error
    if folder.exists() and not folder.is_dir():
        fail(f"{folder}: not a folder. Name another.", Exit.CANNOT_WRITE)
    (run, site), *others = runs
    with Progress(console=screen, transient=True) as bar:
        shown = bar.add_task("figures", total=None)
        try:
            paths = write_figures(
                run,
                campaign,
                site,
                folder,
                named=style,
                others=others,
                done=lambda number, total: bar.update(shown, completed=number, total=total),
            )
        except OSError as error:
            fail(f"{folder}: {error.strerror or error}.", Exit.CANNOT_WRITE)
    for path in paths:
        typer.echo(path)
    if not paths:
        screen.print("No figure yet: nothing is finished that could be drawn.")
