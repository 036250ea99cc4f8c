"""The verbs for data: simulate and stage."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.catalog import DeclarationError, parse
from pipeline.cli.screen import AsJson, screen
from pipeline.data.experiments import EXPERIMENTS, check
from pipeline.outcome import RunError

if TYPE_CHECKING:
    from pipeline.campaign import SimulateTask, StageTask
    from pipeline.records import AnyRecord, Staged
    from pipeline.run import TaskFolder

FORMATS = "npz or root for sphenix, root for jetclass, parquet for icecube."
DEAL = "Assign events to splits by a hash of their id: train=0.8,validation=0.1,test=0.1."
KNOWN_HASHES = "A file of known SHA-256, as sha256sum writes them; all sources are held to it."
READER = "An option of the experiment's reader, name=value, such as pulses=SRTInIcePulses."
KNOWN = ", ".join(EXPERIMENTS)
ORDERS = "file, time, none, EPR, REP, RPE, PER, hilbert, zorder"


def simulate(
    experiment: Annotated[
        str, typer.Argument(help="The experiment: sphenix, jetclass or icecube.")
    ],
    output: Annotated[
        Path, typer.Argument(help="The folder for the files; an existing one is resumed.")
    ],
    file_format: Annotated[str, typer.Option("--format", help=FORMATS)] = "",
    files: Annotated[int, typer.Option(help="The number of files.")] = 1,
    events: Annotated[int, typer.Option(help="Events per file.")] = 1000,
    seed: Annotated[
        int, typer.Option(help="The random seed; the same seed makes the same files.")
    ] = 1,
    labels: Annotated[bool, typer.Option(help="Also write the labels.")] = True,
    workers: Annotated[int, typer.Option(help="Files to make in parallel.")] = os.cpu_count() or 1,
    as_json: AsJson = False,
) -> None:
    """Simulate sample events in a schema that the experiment uses.

    Example: `cosmotron simulate sphenix samples/ --format root --files 4 --events 500`
    """
    from pipeline.campaign import SimulateTask, Simulation
    from pipeline.campaign.sections import FILE_NAMES
    from pipeline.records import Simulated
    from pipeline.run import TaskFolder

    usual = next((each for kind, each in FILE_NAMES if kind == experiment), "npz")
    declared = {"experiment": experiment, "format": file_format or usual, "labelled": labels}
    simulation = parse(
        Simulation, {**declared, "files": {"events": files}, "events_per_file": events}
    )
    where = output.resolve()
    task = SimulateTask(key="simulate", seed=seed, simulation=simulation, output=where)
    made = _run(task, TaskFolder(where / ".simulate"), Simulated, workers)
    if as_json:
        typer.echo(json.dumps({"folder": str(where / "events"), **made.model_dump()}))
        return
    screen.print(
        f"{made.events:,} events in {where / 'events'}, each with a mean of "
        + ", ".join(f"{value:.1f} {name}" for name, value in made.means.items())
    )


def stage(
    store: Annotated[
        Path, typer.Argument(help="The Zarr store to make; a partial one is resumed.")
    ],
    sources: Annotated[list[str], typer.Argument(help="Source files: paths or URLs.")],
    experiment: Annotated[str, typer.Option(help=f"The experiment: {KNOWN}.")] = "sphenix",
    reader: Annotated[list[str] | None, typer.Option(help=READER)] = None,
    sha256: Annotated[str, typer.Option(help=KNOWN_HASHES)] = "",
    split: Annotated[str, typer.Option(help="The split of these files.")] = "train",
    fractions: Annotated[str, typer.Option(help=DEAL)] = "",
    neighbours: Annotated[int, typer.Option(help="Nearest neighbours to store per point.")] = 0,
    order: Annotated[str | None, typer.Option(help=f"Order of points: {ORDERS}.")] = None,
    min_points: Annotated[int, typer.Option(help="Reject events with fewer points.")] = 1,
    max_points: Annotated[
        int | None, typer.Option(help="Truncate or reject events with more points.")
    ] = None,
    bins_from: Annotated[Path | None, typer.Option(help="A store whose voxel bins to use.")] = None,
    events_per_shard: Annotated[int | None, typer.Option(help="Source entries per shard.")] = None,
    codec: Annotated[str, typer.Option(help="zstd, lz4 or none.")] = "zstd",
    workers: Annotated[int, typer.Option(help="Files to stage in parallel.")] = os.cpu_count() or 1,
    ranks: Annotated[int, typer.Option(help="MPI ranks to use instead of workers.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Stage source files into one sharded Zarr store; resumes at the first missing shard.

    Sources may be remote: https://, root://, or a member of an archive, which is read by byte
    ranges: zip://member::https://host/archive.zip.

    Example: `cosmotron stage pp.zarr samples/events/*.root --neighbours 30`
    """
    from pipeline.campaign import Dataset, StageTask
    from pipeline.records import Staged
    from pipeline.run import TaskFolder

    check(experiment)
    where = store.resolve()
    declared: dict[str, Any] = {
        "experiment": experiment,
        "folder": str(where.parent),
        "splits": {split: ["*"]},
        "reader": dict(_pairs("--reader", reader or [], "pulses=SRTInIcePulses")),
        "sha256": sha256,
        "fractions": _fractions(fractions),
        "neighbours": neighbours,
        "order": order,
        "min_points": min_points,
        "max_points": max_points,
        "events_per_shard": events_per_shard,
        "codec": codec,
    }
    bins = bins_from.resolve() if bins_from else where
    dataset, files = parse(Dataset, declared), {split: _files(sources)}
    task = StageTask(key="stage", dataset=dataset, sources=files, store=where, bins_store=bins)
    made = _run(task, TaskFolder(where.with_suffix(".staging")), Staged, workers, ranks)
    if as_json:
        typer.echo(json.dumps({"store": str(where), **made.model_dump()}))
    else:
        _print_staged(where, made)


def _print_staged(store: Path, made: "Staged") -> None:
    counted = ", ".join(f"{count:,} {name} events" for name, count in made.events.items())
    rejected = ", ".join(f"{count:,} {name}" for name, count in made.rejected.items())
    screen.print(f"{counted} in {store}; rejected: {rejected or 'none'}")


def _run(
    task: "SimulateTask | StageTask",
    folder: "TaskFolder",
    kind: "type[AnyRecord]",
    workers: int,
    ranks: int = 0,
) -> "AnyRecord":
    """Run `task` in `folder` and return its result.

    Raises:
        RunError: It has none.
    """
    from pipeline import records
    from pipeline.workflow.alone import run_alone

    run_alone(task, folder, workers=workers, ranks=ranks)
    result = records.read(folder.result, kind)
    if result is None:
        message = f"{folder.result}: not there. Run the same command again."
        raise RunError(message)
    return result


def _files(sources: list[str]) -> tuple[str, ...]:
    """Return the files that paths, addresses and patterns name; links keep their own names.

    Raises:
        DeclarationError: One matches no file, or a file is named twice.
    """
    from pipeline.campaign.sources import check_each_once, found

    names: list[str] = []
    for each in sources:
        matching = found(each if "://" in each else str(Path(each).absolute()))
        if not matching:
            message = f"{each}: no file matches. Check the pattern and its folder, or name a file."
            raise DeclarationError(message)
        names += matching
    check_each_once("stage", {"sources": names})
    return tuple(names)


def _fractions(text: str) -> dict[str, float]:
    """Return the fractions in `text`, such as "train=0.8,test=0.2".

    Raises:
        DeclarationError: The text has another form.
    """
    example = "train=0.8,validation=0.1,test=0.1"
    try:
        pairs = _pairs("--fractions", [each for each in text.split(",") if each], example)
        return {name: float(value) for name, value in pairs}
    except ValueError as error:
        message = f"--fractions {text!r}: expected for example {example}"
        raise DeclarationError(message) from error


def _pairs(option: str, given: list[str], example: str) -> list[tuple[str, str]]:
    """Return the names and values in `given`, such as "train=0.8".

    Raises:
        DeclarationError: One has another form.
    """
    split = [each.partition("=") for each in given]
    if not all(name and mark and value for name, mark, value in split):
        message = f"{option} {','.join(given)!r}: expected for example {example}"
        raise DeclarationError(message)
    return [(name.strip(), value.strip()) for name, _, value in split]
