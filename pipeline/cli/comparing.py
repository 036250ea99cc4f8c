"""The verb compare: several runs side by side, in the terminal or as a page."""

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipeline.catalog import DeclarationError
from pipeline.cli import completion
from pipeline.cli.opening import each_opened
from pipeline.cli.screen import AsJson, escaped, out, screen
from pipeline.outcome import RunError

if TYPE_CHECKING:
    from pipeline.report.beside import Beside, Column, Compared, Row
    from pipeline.report.gains import Gain
    from pipeline.report.scores import Setting

Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN",
        help="Run folders, of any campaigns. The others are compared with the first.",
        autocompletion=completion.campaigns,
    ),
]


def compare(
    runs: Runs,
    to: Annotated[
        Path | None, typer.Option("--to", help="Write a page, with the losses drawn together.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show several runs side by side: what was declared differently, and what came out.

    Scores are compared where fine-tuning, model, mode and labels have the same names; seeds that
    both have are compared one by one.

    Example: `cosmotron compare runs/quickstart runs/longer --to compared.html`
    """
    if to is not None and to.is_dir():
        message = f"{to}: a folder. Name the page to write: --to {to / 'compared.html'}"
        raise DeclarationError(message)
    found = _beside(runs)
    if to is not None:
        typer.echo(_page(found, to))
        return
    if as_json:
        typer.echo(json.dumps(_as_json(found), indent=2))
        return
    _print(found)


def _beside(names: Sequence[str]) -> "Beside":
    """Return the runs of these names side by side.

    Raises:
        DeclarationError: There are not two of them, or one is no run.
        RunError: The libraries of reports are not installed.
    """
    try:
        from pipeline.report.beside import beside
    except ModuleNotFoundError as error:
        message = f"compare needs {error.name}. Type: pip install 'cosmotron[report]'"
        raise RunError(message) from error
    if len(names) < 2:
        message = "Name two runs or more: cosmotron compare RUN RUN"
        raise DeclarationError(message)
    found = each_opened(names, None, None)
    labels = _labels([run.path.resolve() for _, _, run in found])
    return beside(
        [(label, what, run, site) for label, (what, site, run) in zip(labels, found, strict=True)]
    )


def _labels(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of some paths that are not alike."""
    for parts in range(1, max(len(each.parts) for each in paths) + 1):
        labels = ["/".join(each.parts[-parts:]) for each in paths]
        if len(set(labels)) == len(labels):
            return labels
    return [str(each) for each in paths]


def _page(found: "Beside", to: Path) -> Path:
    """Write the page and return its path."""
    from pipeline import __version__
    from pipeline.report.beside import loss_plots
    from pipeline.report.page import render
    from pipeline.report.reader import Reader
    from pipeline.writing import write_text

    reader = Reader()
    plots = loss_plots(found.columns, reader)
    problems = [*found.problems, *reader.problems]
    content = {**vars(found), "plots": plots, "problems": problems}
    content |= {"now": datetime.now(UTC), "version": __version__}
    write_text(to, render(content, "beside.html.j2"))
    return to


def _print(found: "Beside") -> None:
    """Print the scores of each fine-tuning, and what was declared differently."""
    labels = [each.label for each in found.columns]
    for each in found.compared:
        smaller = ", the smaller the better" if each.smaller_is_better else ""
        out.print(f"\n[bold]{escaped(each.name)}[/]  {escaped(each.title)}{smaller}")
        out.print(_scores(each, labels))
    out.print(_legend(found))
    if found.differences:
        table = Table("declared differently", *labels, box=None, pad_edge=False)
        for key in found.differences:
            table.add_row(escaped(key.key), *map(escaped, key.values))
        out.print("", table)
    for column in found.columns:
        out.print(_run(column), highlight=False, markup=False)
    for problem in found.problems:
        screen.print(f"[bold]note[/] {escaped(problem)}", highlight=False, soft_wrap=True)


def _scores(each: "Compared", labels: Sequence[str]) -> Table:
    """Return the table of one fine-tuning."""
    table = Table("setting", box=None, pad_edge=False)
    for number, label in enumerate(labels):
        table.add_column(label, justify="right")
        if number:
            table.add_column(f"− {labels[0]}", justify="right")
    for row in each.rows:
        table.add_row(escaped(row.name), *_cells(each, row))
    return table


def _legend(found: "Beside") -> str:
    """Return what the marks of the tables mean."""
    if not found.compared:
        return "No run has a finished evaluation yet."
    changes = [change for each in found.compared for row in each.rows for change in row.changes]
    seen = any(change.is_seen for change in changes if change)
    return "* Zero is outside the 95 % interval. ± is one standard error." if seen else ""


def _run(column: "Column") -> str:
    """Return how far a run is, and what it was charged."""
    charged = [f"{value:.3g} node-hours at {site}" for site, value in column.node_hours.items()]
    done = f"{column.done} of {len(column.tasks)} tasks done"
    return f"{column.label}: {done}, charged {', '.join(charged) or 'nothing'}"


def _cells(each: "Compared", row: "Row") -> list[str]:
    """Return the cells of a row, from the second run on each with its change."""
    first, *others = (_score(cell, each.score) for cell in row.cells)
    changes = [_change(change) for change in row.changes]
    return [first, *(text for pair in zip(others, changes, strict=True) for text in pair)]


def _score(cell: "Setting | None", name: str) -> str:
    """Return a mean with its spread over seeds."""
    from pipeline.report.formats import score

    value = cell.mean(name) if cell else None
    spread = cell.spread(name) if cell else None
    return score(value) + (f" ± {score(spread, value)}" if spread is not None else "")


def _change(change: "Gain | None") -> str:
    """Return a difference with its standard error; a star where the 95 % interval leaves out 0."""
    from pipeline.report.formats import score

    if change is None:
        return "–"
    error = "" if math.isnan(change.error) else f" ± {score(change.error, change.gain)}"
    sign = "+" if change.gain >= 0 else "−"
    return f"{sign}{score(abs(change.gain))}{error}{' *' if change.is_seen else ''}"


def _difference(change: "Gain") -> dict[str, Any]:
    """Return a difference for scripts; JSON has no number that is none."""
    error = None if math.isnan(change.error) else change.error
    return {"value": change.gain, "error": error, "seeds": change.seeds, "is_seen": change.is_seen}


def _as_json(found: "Beside") -> dict[str, Any]:
    """Return what scripts read."""
    return {
        "runs": [
            {
                "label": each.label,
                "run": str(each.run.path),
                "campaign": each.campaign.name,
                "tasks_done": each.done,
                "tasks": len(each.tasks),
                "node_hours": dict(each.node_hours),
            }
            for each in found.columns
        ],
        "differences": {each.key: list(each.values) for each in found.differences},
        "results": [
            {
                "finetuning": each.name,
                "score": each.score,
                "model": row.model,
                "pretraining_events": row.events,
                "mode": row.mode,
                "labels": row.labels,
                "means": [cell.mean(each.score) if cell else None for cell in row.cells],
                "differences": [
                    None if change is None else _difference(change) for change in row.changes
                ],
                "same_events": row.same_events,
            }
            for each in found.compared
            for row in each.rows
        ],
        "problems": list(found.problems),
    }
