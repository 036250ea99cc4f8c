"""The verbs for data: simulate and stage."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.catalog import DeclarationError, parse
from pipeline.cli.opening import opened
from pipeline.cli.screen import AsJson, screen
from pipeline.data.experiments import EXPERIMENTS, check
from pipeline.outcome import RunError

if TYPE_CHECKING:
    from pipeline.campaign import Dataset, SimulateTask, StageTask
    from pipeline.records import AnyRecord, Staged
    from pipeline.run import Run, TaskFolder

FORMATS = "npz or root for sphenix, root for jetclass, parquet for icecube."
DEAL = "Assign events to splits by a hash of their id: train=0.8,validation=0.1,test=0.1."
KNOWN_HASHES = "A file of known SHA-256, as sha256sum writes them; all sources are held to it."
LIKE = "Stage as this dataset declares, its files if none are named, into a store to share."
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
    context: typer.Context,
    store: Annotated[
        Path, typer.Argument(help="The Zarr store to make; a partial one is resumed.")
    ],
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Source files: paths or URLs; with --like those of the campaign."),
    ] = None,
    like: Annotated[str, typer.Option(metavar="CAMPAIGN:DATASET", help=LIKE)] = "",
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

    With --like it stages as a campaign's dataset declares, so that this campaign, and others, can
    take it: store = "pp.zarr" in place of folder and splits.

    Example: `cosmotron stage pp.zarr samples/events/*.root --neighbours 30`
    """
    where = store.resolve()
    dataset = _dataset(
        experiment=experiment,
        folder=str(where.parent),
        splits={split: ["*"]},
        reader=dict(_pairs("--reader", reader or [], "pulses=SRTInIcePulses")),
        sha256=sha256,
        fractions=_fractions(fractions),
        neighbours=neighbours,
        order=order,
        min_points=min_points,
        max_points=max_points,
        events_per_shard=events_per_shard,
        codec=codec,
    )
    files = {split: _files(sources)} if sources else {}
    if like:
        _check_like(context, like)
        dataset, files = _declared(like, files, has_bins=bins_from is not None)
    made = _staged(dataset, files, where, bins_from, workers, ranks)
    _print_staged(where, made, as_json=as_json)


def _staged(
    dataset: "Dataset",
    files: dict[str, tuple[str, ...]],
    store: Path,
    bins_from: Path | None,
    workers: int,
    ranks: int,
) -> "Staged":
    """Stage `files` into `store` as `dataset` says; return the result.

    Raises:
        DeclarationError: There are no files.
    """
    from pipeline.campaign import StageTask
    from pipeline.records import Staged
    from pipeline.run import TaskFolder

    if not files:
        message = f"{store}: name the source files to stage, or a campaign's dataset with --like."
        raise DeclarationError(message)
    bins = bins_from.resolve() if bins_from else store
    task = StageTask(key="stage", dataset=dataset, sources=files, store=store, bins_store=bins)
    return _run(task, TaskFolder(store.with_suffix(".staging")), Staged, workers, ranks)


def _dataset(**declared: Any) -> "Dataset":
    """Return a dataset of these keys.

    Raises:
        BadInput: There is no such experiment.
        DeclarationError: A key is impossible.
    """
    from pipeline.campaign import Dataset

    check(declared["experiment"])
    return parse(Dataset, declared)


def _check_like(context: typer.Context, like: str) -> None:
    """Check that no option is given that the dataset `like` decides.

    Raises:
        DeclarationError: One is.
    """
    others = ("context", "store", "sources", "like", "split", "bins_from", "workers", "ranks")
    given = [
        f"--{name.replace('_', '-')}"
        for name in context.params
        if name not in (*others, "as_json")
        and getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    if given:
        message = f"--like {like} says how to stage: leave {', '.join(given)} out."
        raise DeclarationError(message)


def _declared(
    like: str, files: dict[str, tuple[str, ...]], *, has_bins: bool
) -> "tuple[Dataset, dict[str, tuple[str, ...]]]":
    """Return the dataset "CAMPAIGN:DATASET", and its files, which are `files` if there are any.

    Raises:
        DeclarationError: There is no such dataset, or it does not say what is to be staged.
    """
    name, _, key = like.rpartition(":")
    if not name:
        message = f"--like {like}: CAMPAIGN:DATASET is expected, as in quickstart:labelled."
        raise DeclarationError(message)
    campaign, _, run = opened(name, None, None)
    declared = campaign.datasets
    if key not in declared:
        known = ", ".join(declared)
        message = f"--like {like}: no such dataset: {known}."
        raise DeclarationError(message)
    dataset = declared[key]
    if dataset.store:
        message = f"--like {like}: it is staged already, in {dataset.store}. Copy that."
        raise DeclarationError(message)
    if dataset.bins_from and not has_bins:
        message = (
            f"--like {like}: its voxels are those of {dataset.bins_from!r}: name the store of that "
            "with --bins-from."
        )
        raise DeclarationError(message)
    if dataset.simulation and not files:
        message = f"--like {like}: its files are simulated: name those to stage, and their --split."
        raise DeclarationError(message)
    return dataset, files or _sources(key, dataset, run)


def _sources(name: str, dataset: "Dataset", run: "Run") -> dict[str, tuple[str, ...]]:
    """Return the files of the dataset `name`, which `run` may have staged before.

    Raises:
        DeclarationError: There are none; it names the store of the run, if that is there.
    """
    from pipeline.campaign.sources import sources_of

    try:
        return sources_of(name, dataset, elsewhere=False)
    except DeclarationError as error:
        if not run.store(name).is_dir():
            raise
        message = f"{error} Or copy the store that was staged of them: {run.store(name)}"
        raise DeclarationError(message) from error


def _print_staged(store: Path, made: "Staged", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"store": str(store), **made.model_dump()}))
        return
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
