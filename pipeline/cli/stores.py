"""The verbs for a store: inspect, sources, locate, verify and plot."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track
from rich.table import Table

from pipeline.cli.screen import AsJson, fail, out, screen
from pipeline.outcome import Exit

app = typer.Typer(
    no_args_is_help=True,
    help="Stores of events: inspect, verify, plot; find events in their files.",
)
StorePath = Annotated[Path, typer.Argument(help="A staged Zarr store.")]


@app.command("inspect")
def data_inspect(store: StorePath, as_json: AsJson = False) -> None:
    """Show the contents of a store: counts, arrays, normalisation, rejected events, sources.

    Example: `cosmotron data inspect runs/quickstart/data/labelled.zarr`
    """
    from pipeline.data.store import Store
    from pipeline.data.store.summary import summary

    facts_of = summary(Store.open(store))
    if as_json:
        typer.echo(json.dumps(facts_of, indent=2))
        return
    facts = (
        *("experiment", "schema", "order", "neighbours", "event_key"),
        *("gigabytes", "files", "sources"),
    )
    out.print("  ".join(f"[dim]{name}[/] {facts_of[name]}" for name in facts), highlight=False)
    for title, rows in (("splits", facts_of["splits"]), ("arrays", facts_of["arrays"])):
        _print(title, rows)
    _print("columns of points", facts_of["columns"])
    rejected = ", ".join(f"{count:,} {name}" for name, count in facts_of["rejected"].items())
    out.print(f"rejected: {rejected or 'none'}")
    verified = ", ".join(f"{count:,} by {what}" for what, count in facts_of["verified"].items())
    out.print(f"source files verified: {verified}", highlight=False)


@app.command("sources")
def data_sources(store: StorePath, as_json: AsJson = False) -> None:
    """List the source files of a store: content, events, split, and the id of the first event.

    Example: `cosmotron data sources runs/quickstart/data/labelled.zarr`
    """
    from pipeline.data.store import Store
    from pipeline.data.store.places import source_table

    opened = Store.open(store)
    rows = source_table(opened)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    key = opened.manifest.event_key
    what = "file and place there" if key == "file" else f"{key}, which numbers all events"
    out.print(f"[dim]an event is its[/] {what}", highlight=False)
    _print("source files", [_in_short(row) for row in rows])


def _in_short(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a source file as a terminal shows it; an id is a name, not a quantity."""
    row = {**row, "sha256": f"{row['sha256'][:12]}…"}
    first = row.pop("first event_id")
    return row if first is None else {**row, "first event_id": str(first)}


@app.command("locate")
def data_locate(
    store: StorePath,
    event_ids: Annotated[list[int], typer.Argument(help="Event ids, as the store has them.")],
    as_json: AsJson = False,
) -> None:
    """Show the source file and the row of events, and their places in the store.

    Rows and places count from 0.

    Example: `cosmotron data locate pp.zarr 8203414616412130826`
    """
    from dataclasses import asdict

    from pipeline.data.store import Store
    from pipeline.data.store.places import places

    opened = Store.open(store)
    found = [place for event_id in event_ids for place in places(opened, event_id)]
    if as_json:
        rows = [{**asdict(each), "file": each.file.model_dump(mode="json")} for each in found]
        typer.echo(json.dumps(rows, indent=2))
        return
    for each in found:
        where = f"shard {each.shard}, event {each.index}" if each.shard else "rejected, not staged"
        out.print(
            f"{each.event_id}: row {each.row} of {each.file.path}; split {each.split}, {where}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )


def _print(title: str, rows: list[dict[str, Any]]) -> None:
    """Print `rows`, which have the same keys, as a table."""
    table = Table(*rows[0], title=title, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        table.add_row(
            *(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values())
        )
    out.print(table)


@app.command("verify")
def data_verify(store: StorePath, as_json: AsJson = False) -> None:
    """Check every file of a store against its manifest, and name the damaged ones.

    Example: `cosmotron data verify runs/quickstart/data/labelled.zarr`
    """
    from pipeline.data.store import Store

    opened = Store.open(store)
    shards = [shard for split in opened.splits for shard in opened.shards(split)]
    damaged = []
    for shard in track(shards, "verify", console=screen, disable=as_json):
        damaged += shard.damaged()
    if as_json:
        typer.echo(json.dumps({"shards": len(shards), "damaged": damaged}, indent=2))
    elif not damaged:
        out.print(f"{store}: all {len(shards)} shards match the manifest.")
    if damaged:
        fail("\n".join(damaged), Exit.BAD_INPUT)


@app.command("plot")
def data_plot(
    store: StorePath,
    output: Annotated[Path, typer.Option(help="The folder for the pictures.")] = Path(),
    split: Annotated[str, typer.Option(help="The split to plot; default: the first.")] = "",
    event: Annotated[int, typer.Option(help="The index of the event to draw.")] = 0,
) -> None:
    """Draw every feature of a store as a histogram, and one event.

    Example: `cosmotron data plot runs/quickstart/data/labelled.zarr --output pictures/`
    """
    from pipeline.data.store import Store
    from pipeline.data.store.pictures import draw_event, draw_features

    opened = Store.open(store)
    shown = split or opened.splits[0]
    for path in (
        draw_features(opened, shown, output / f"{store.stem}-{shown}-features.png"),
        draw_event(opened, shown, event, output / f"{store.stem}-{shown}-event-{event}.png"),
    ):
        out.print(str(path))
