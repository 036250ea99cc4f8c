"""The verbs of data alone: simulate and stage."""

import os
from pathlib import Path
from typing import Annotated, get_args

import typer

from pipeline.campaign import Dataset, Order, SimulateTask, Simulation, StageTask
from pipeline.campaign.sections import FILE_NAMES
from pipeline.catalog import parse
from pipeline.cli.screen import screen
from pipeline.run import TaskFolder, read_json

FORMATS = "npz or root for sphenix, root for jetclass, parquet for icecube."
ORDERS = ", ".join(get_args(Order))


def simulate(
    experiment: Annotated[str, typer.Argument(help="Whose data: sphenix, jetclass or icecube.")],
    output: Annotated[Path, typer.Argument(help="Where the files go; may exist: it resumes.")],
    file_format: Annotated[str, typer.Option("--format", help=FORMATS)] = "",
    files: Annotated[int, typer.Option(help="How many files.")] = 1,
    events: Annotated[int, typer.Option(help="Events in each file.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same files.")] = 1,
    labels: Annotated[bool, typer.Option(help="Write the truth too.")] = True,
    workers: Annotated[int, typer.Option(help="Files made at once.")] = os.cpu_count() or 1,
) -> None:
    """Make sample events in a schema that the experiment really uses.

    Example: `cosmotron simulate sphenix samples/ --format root --files 4 --events 500`
    """
    from pipeline.workflow.alone import run_alone  # noqa: PLC0415

    usual = next((each for kind, each in FILE_NAMES if kind == experiment), "npz")
    asked = {"experiment": experiment, "format": file_format or usual, "labelled": labels}
    simulation = parse(Simulation, {**asked, "files": {"events": files}, "events_per_file": events})
    where = output.resolve()
    task = SimulateTask(key="simulate", seed=seed, simulation=simulation, output=where)
    run_alone(task, TaskFolder(where / ".simulate"), workers=workers)
    made = read_json(TaskFolder(where / ".simulate").result) or {}
    screen.print(
        f"{made['events']:,} events in {where / 'events'}, each with a mean of "
        + ", ".join(
            f"{value:.1f} {name.removeprefix('mean_')}"
            for name, value in made.items()
            if name.startswith("mean_")
        )
    )


def stage(
    store: Annotated[Path, typer.Argument(help="The Zarr store to make; may be half there.")],
    sources: Annotated[list[Path], typer.Argument(help="Source files: ROOT or npz.")],
    experiment: Annotated[str, typer.Option(help="Whose data: sphenix.")] = "sphenix",
    split: Annotated[str, typer.Option(help="The split the files are.")] = "train",
    neighbours: Annotated[int, typer.Option(help="Next neighbours kept per point.")] = 0,
    order: Annotated[str | None, typer.Option(help=f"Order of points: {ORDERS}.")] = None,
    events_per_shard: Annotated[int, typer.Option(help="Entries behind each shard.")] = 4096,
    workers: Annotated[int, typer.Option(help="Files staged at once.")] = os.cpu_count() or 1,
) -> None:
    """Stage source files into one sharded Zarr store; resumes at the first missing shard.

    Example: `cosmotron stage pp.zarr samples/events/*.root --neighbours 30`
    """
    from pipeline.workflow.alone import run_alone  # noqa: PLC0415

    found = tuple(sorted(str(path.resolve()) for path in sources))
    where = store.resolve()
    settings = {"neighbours": neighbours, "order": order, "events_per_shard": events_per_shard}
    kind = {"experiment": experiment, "folder": str(where.parent), "splits": {split: ["*"]}}
    task = StageTask(
        key="stage",
        dataset=parse(Dataset, {**kind, **settings}),
        sources={split: found},
        store=where,
        bins_store=where,
    )
    folder = TaskFolder(where.with_suffix(".staging"))
    run_alone(task, folder, workers=workers)
    made = read_json(folder.result) or {}
    counted = ", ".join(f"{count:,} {name} events" for name, count in made["events"].items())
    screen.print(f"{counted} in {where}; rejected: {made['rejected'] or 'none'}")
