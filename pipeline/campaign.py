"""What a campaign asks: datasets × models × grids × tasks, resolved into tasks with keys."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import tomli_w
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from pipeline import catalog
from pipeline.catalog import Declaration, DeclarationError
from pipeline.run import Run, TaskFolder, write_text

SHELF = "jobs/campaigns"

Mode = Literal["frozen", "full", "scratch"]
Order = Literal["none", "EPR", "REP", "RPE", "PER"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class Simulation(Declaration):
    """Sample files to make, in a schema the experiment really uses."""

    experiment: Literal["sphenix"]
    format: Literal["npz", "root"]
    labelled: bool = True
    files: dict[Name, PositiveInt]
    events_per_file: PositiveInt


class Dataset(Declaration):
    """Source files to stage into one sharded Zarr store, and the preparation of their events.

    The sources are a simulation of this campaign, or `splits` of patterns below `folder`.
    """

    experiment: Literal["sphenix"]
    simulation: str = ""
    folder: str = ""
    splits: dict[Name, tuple[str, ...]] = {}
    max_points: PositiveInt = 3200
    neighbours: NonNegativeInt = 0
    order: Order = "REP"
    bins: tuple[PositiveInt, PositiveInt, PositiveInt] = (8, 8, 6)
    bins_from: str = ""
    events_per_shard: PositiveInt = 10_000
    chunk_points: PositiveInt = 8192
    codec: Literal["zstd", "lz4", "none"] = "zstd"

    @model_validator(mode="after")
    def _one_source(self) -> "Dataset":
        """Check that there is one kind of source."""
        if bool(self.simulation) == bool(self.folder and self.splits):
            message = "give either simulation, or folder and splits"
            raise ValueError(message)
        return self


class Model(Declaration):
    """A backbone: FM4NPP with Mamba2 layers (arXiv 2508.14087)."""

    family: Literal["fm4npp-mamba2"]
    width: PositiveInt
    layers: PositiveInt = 12
    neighbours: PositiveInt = 30
    dropout: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _heads_divide(self) -> "Model":
        """Check that Mamba2's heads of 64 channels fill twice the width."""
        if self.width % 32:
            message = f"width {self.width} is no multiple of 32 (heads of 64 over 2 × width)"
            raise ValueError(message)
        return self


class Training(Declaration):
    """How a training runs; all counts are of events, so that they hold at any world size."""

    events_seen: PositiveInt
    batch_events: PositiveInt
    learning_rate: PositiveFloat
    final_learning_rate: NonNegativeFloat = 0.0
    warmup_events: NonNegativeInt = 0
    weight_decay: NonNegativeFloat = 0.01
    betas: tuple[PositiveFloat, PositiveFloat] = (0.9, 0.95)
    clip_norm: PositiveFloat = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    zero: Literal[0, 1, 2, 3] = 1
    checkpoint_events: PositiveInt
    keep_checkpoints: Annotated[int, Field(ge=2)] = 2
    devices: PositiveInt = 1
    threads: PositiveInt = 1
    walltime_minutes: PositiveInt

    @model_validator(mode="after")
    def _batch_divides(self) -> "Training":
        """Check that every device gets the same number of events of each batch."""
        if self.batch_events % self.devices:
            message = f"batch_events {self.batch_events} does not divide by devices {self.devices}"
            raise ValueError(message)
        return self

    @property
    def steps(self) -> int:
        """The number of optimiser steps; the last partial batch is not taken."""
        return max(1, self.events_seen // self.batch_events)


class Pretrain(Declaration):
    """The pretraining grid: models × data sizes × seeds on one dataset."""

    dataset: str
    split: str = "train"
    models: tuple[str, ...]
    events: tuple[PositiveInt, ...]
    seeds: tuple[NonNegativeInt, ...] = (1,)
    training: Training


class TrackHead(Declaration):
    """The mask-classification head that finds tracks (FM4NPP §downstream)."""

    queries: PositiveInt = 150
    width: PositiveInt = 256
    layers: PositiveInt = 2
    heads: PositiveInt = 8


class Finetune(Declaration):
    """The fine-tuning fan-out: modes × label counts × seeds, for each pretrained model."""

    dataset: str
    split: str = "train"
    test_split: str = "test"
    modes: tuple[Mode, ...] = ("frozen", "full", "scratch")
    labels: tuple[PositiveInt, ...]
    seeds: tuple[NonNegativeInt, ...] = (1,)
    head: TrackHead = TrackHead()
    training: Training


class SimulateTask(Declaration):
    """Make the files of one simulation; one part per file."""

    stage: Literal["simulate"] = "simulate"
    key: str
    needs: tuple[str, ...] = ()
    seed: int
    simulation: Simulation
    output: Path

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        """The (split, file) of each part; an npz set is named by its spacepoints."""
        pattern = (
            "spacepoints_{:03d}.npz" if self.simulation.format == "npz" else "pp200_{:03d}.root"
        )
        return tuple(
            (split, self.output / split / pattern.format(number))
            for split, count in self.simulation.files.items()
            for number in range(count)
        )


class StageTask(Declaration):
    """Stage source files into one Zarr store; one part per source file."""

    stage: Literal["stage"] = "stage"
    key: str
    needs: tuple[str, ...] = ()
    dataset: Dataset
    sources: dict[str, tuple[Path, ...]]
    store: Path
    bins_store: Path

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        """The (split, file) of each part; a file's place in this list is its ordinal."""
        return tuple((split, path) for split, paths in self.sources.items() for path in paths)


class PretrainTask(Declaration):
    """Pretrain one model on the first `events` events of a store."""

    stage: Literal["pretrain"] = "pretrain"
    key: str
    needs: tuple[str, ...] = ()
    seed: int
    model: Model
    store: Path
    split: str
    events: PositiveInt
    training: Training


class FinetuneTask(Declaration):
    """Fine-tune a head, with the backbone frozen, trained along, or trained from scratch."""

    stage: Literal["finetune"] = "finetune"
    key: str
    needs: tuple[str, ...] = ()
    seed: int
    mode: Mode
    model: Model
    head: TrackHead
    backbone: Path | None = None
    store: Path
    split: str
    labels: PositiveInt
    training: Training


class EvaluateTask(Declaration):
    """Evaluate one fine-tuned model on a split it never saw."""

    stage: Literal["evaluate"] = "evaluate"
    key: str
    needs: tuple[str, ...] = ()
    seed: int
    finetuned: Path
    store: Path
    split: str
    threads: PositiveInt = 1


Task = SimulateTask | StageTask | PretrainTask | FinetuneTask | EvaluateTask
TrainingTask = PretrainTask | FinetuneTask


class Campaign(Declaration):
    """A campaign as declared in `jobs/campaigns/<name>.toml`."""

    name: Name
    description: str = ""
    seed: NonNegativeInt = 1
    simulations: dict[Name, Simulation] = {}
    datasets: dict[Name, Dataset]
    models: dict[Name, Model] = {}
    pretrain: Pretrain | None = None
    finetune: dict[Name, Finetune] = {}

    @model_validator(mode="after")
    def _names_exist(self) -> "Campaign":
        """Check that every name used is declared in the same file."""
        for key, name, known in self._references():
            if name not in known:
                message = f"{key}: {name!r} is none of: {', '.join(known) or '(none declared)'}"
                raise ValueError(message)
        if self.finetune and self.pretrain is None:
            message = "finetune: needs a [pretrain] section, whose models it takes"
            raise ValueError(message)
        return self

    def _references(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield (key, name used there, names declared) for each name used."""
        datasets = tuple(self.datasets)
        fitted = tuple(name for name, dataset in self.datasets.items() if not dataset.bins_from)
        for name, dataset in self.datasets.items():
            if dataset.simulation:
                yield f"datasets.{name}.simulation", dataset.simulation, tuple(self.simulations)
            if dataset.bins_from:
                yield f"datasets.{name}.bins_from", dataset.bins_from, fitted
        if self.pretrain is not None:
            yield "pretrain.dataset", self.pretrain.dataset, datasets
            for model in self.pretrain.models:
                yield "pretrain.models", model, tuple(self.models)
        for name, finetune in self.finetune.items():
            yield f"finetune.{name}.dataset", finetune.dataset, datasets

    def tasks(self, run: Run) -> list[Task]:
        """Return every task of the campaign in `run`, each after the tasks it needs.

        Raises:
            DeclarationError: A source pattern matches no file.
        """
        return [
            *(self._simulate(run, name) for name in self.simulations),
            *(self._stage(run, name) for name in sorted(self.datasets, key=self._bins_first)),
            *self._pretrains(run),
            *(each for name in self.finetune for each in self._finetunes(run, name)),
        ]

    def _bins_first(self, name: str) -> bool:
        """Sort datasets that fit their own bins before those that take another's."""
        return bool(self.datasets[name].bins_from)

    def _simulate(self, run: Run, name: str) -> SimulateTask:
        key = f"simulate/{name}"
        seed = self.seed * 1000 + sorted(self.simulations).index(name)
        output = run.task(key).path / "files"
        return SimulateTask(key=key, seed=seed, simulation=self.simulations[name], output=output)

    def _stage(self, run: Run, name: str) -> StageTask:
        dataset = self.datasets[name]
        needs = [f"stage/{dataset.bins_from}"] if dataset.bins_from else []
        if dataset.simulation:
            needs.append(f"simulate/{dataset.simulation}")
            simulated = self._simulate(run, dataset.simulation)
            sources: dict[str, tuple[Path, ...]] = {}
            for split, path in simulated.files:
                sources[split] = (*sources.get(split, ()), path)
        else:
            sources = _found(name, dataset)
        return StageTask(
            key=f"stage/{name}",
            needs=tuple(needs),
            dataset=dataset,
            sources=sources,
            store=run.store(name),
            bins_store=run.store(dataset.bins_from or name),
        )

    def _pretrains(self, run: Run) -> list[PretrainTask]:
        grid = self.pretrain
        if grid is None:
            return []
        return [
            PretrainTask(
                key=f"pretrain/{model}-d{events}-s{seed}",
                needs=(f"stage/{grid.dataset}",),
                seed=seed,
                model=self.models[model],
                store=run.store(grid.dataset),
                split=grid.split,
                events=events,
                training=grid.training,
            )
            for model in grid.models
            for events in grid.events
            for seed in grid.seeds
        ]

    def _finetunes(self, run: Run, name: str) -> Iterator[FinetuneTask | EvaluateTask]:
        grid = self.finetune[name]
        for parent in self._pretrains(run):
            for mode in grid.modes:
                for labels in grid.labels:
                    for seed in grid.seeds:
                        task = self._finetune(run, name, parent, mode, labels, seed)
                        yield task
                        yield self._evaluate(run, task, grid)

    def _finetune(
        self, run: Run, name: str, parent: PretrainTask, mode: Mode, labels: int, seed: int
    ) -> FinetuneTask:
        grid = self.finetune[name]
        below = parent.key.removeprefix("pretrain/")
        scratch = mode == "scratch"
        return FinetuneTask(
            key=f"finetune/{name}-{below}-{mode}-l{labels}-s{seed}",
            needs=(f"stage/{grid.dataset}", *(() if scratch else (parent.key,))),
            seed=seed,
            mode=mode,
            model=parent.model,
            head=grid.head,
            backbone=None if scratch else run.task(parent.key).path,
            store=run.store(grid.dataset),
            split=grid.split,
            labels=labels,
            training=grid.training,
        )

    def _evaluate(self, run: Run, task: FinetuneTask, grid: Finetune) -> EvaluateTask:
        return EvaluateTask(
            key=f"evaluate/{task.key.removeprefix('finetune/')}",
            needs=(task.key,),
            seed=task.seed,
            finetuned=run.task(task.key).path,
            store=task.store,
            split=grid.test_split,
            threads=grid.training.threads,
        )


def _found(name: str, dataset: Dataset) -> dict[str, tuple[Path, ...]]:
    """Return the files that the patterns of `dataset` match, sorted, per split."""
    folder = Path(os.path.expandvars(dataset.folder)).expanduser()
    found = {}
    for split, patterns in dataset.splits.items():
        paths = tuple(sorted(path for each in patterns for path in folder.glob(each)))
        if not paths:
            message = (
                f"datasets.{name}.splits.{split}: no file matches {', '.join(patterns)} "
                f"below {folder}. Check the folder, or fetch the files first."
            )
            raise DeclarationError(message)
        found[split] = paths
    return found


def load_campaign(name: str) -> Campaign:
    """Load the campaign `name`: a declared name or the path of a TOML file."""
    return catalog.load(SHELF, name, Campaign)


def to_toml(declaration: Declaration) -> str:
    """Return `declaration` as TOML, every key resolved."""
    return tomli_w.dumps(declaration.model_dump(mode="json", exclude_none=True))


def declare(folder: TaskFolder, task: Task) -> None:
    """Write the resolved `task` into its folder, once.

    Raises:
        DeclarationError: The folder holds another task of the same key: the campaign was changed.
    """
    text = to_toml(task)
    if not folder.declaration.exists():
        write_text(folder.declaration, text)
    elif folder.declaration.read_text() != text:
        message = (
            f"{folder.declaration}: the campaign now asks something else of {task.key}. "
            "Give the changed campaign another name, or remove this task's folder."
        )
        raise DeclarationError(message)
