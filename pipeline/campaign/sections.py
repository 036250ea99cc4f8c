"""The sections of a campaign file, each as strict as the rest."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from pipeline.campaign import branching
from pipeline.campaign.cells import M, Own, adapted, changed, in_proportion
from pipeline.campaign.training import Training, Validation
from pipeline.catalog import Declaration
from pipeline.downstream import AnyTask
from pipeline.downstream.tracks.spec import TrackTask
from pipeline.families import AnyTokenizer

Mode = Literal["frozen", "lora", "full", "scratch", "head"]
Order = Literal["file", "none", "EPR", "REP", "RPE", "PER", "hilbert", "zorder"]
# JetClass names its files by process, one class each, in the order of its labels.
JETCLASS_PROCESSES = (
    *("ZJetsToNuNu", "HToBB", "HToCC", "HToGG", "HToWW4Q", "HToWW2Q1L", "ZToQQ", "WToQQ"),
    *("TTBar", "TTBarLep"),
)
FILE_NAMES = {
    ("sphenix", "npz"): "spacepoints_{number:03d}.npz",
    ("sphenix", "root"): "pp200_{number:03d}.root",
    ("jetclass", "root"): "{process}_{number:03d}.root",
    ("icecube", "parquet"): "batch_{number:d}.parquet",
}
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


def _own_file(name: str) -> str:
    """Return the name of an experiment, of the user's own with its path from the root on."""
    file, _, variable = name.rpartition(":")
    if not file.endswith(".py"):
        return name
    if not Path(file).is_file():
        message = f"{file}: no such file, from {Path.cwd()}"
        raise ValueError(message)
    return f"{Path(file).resolve()}:{variable}"


Kind = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9-]*$|\.py:[A-Za-z_]\w*$"),
    AfterValidator(_own_file),
]


class Simulation(Declaration):
    """Sample files to make, in a schema the experiment really uses."""

    experiment: Literal["sphenix", "jetclass", "icecube"]
    format: Literal["npz", "root", "parquet"]
    labelled: bool = True
    files: dict[Name, PositiveInt]
    events_per_file: PositiveInt

    @model_validator(mode="after")
    def _format_of_experiment(self) -> "Simulation":
        """Check that the experiment has files of that format."""
        known = [each for kind, each in FILE_NAMES if kind == self.experiment]
        if self.format not in known:
            message = f"format {self.format!r}: {self.experiment} has {', '.join(known)}"
            raise ValueError(message)
        return self

    def file_name(self, number: int) -> str:
        """Return the name of file `number`, as the experiment names its own."""
        process = JETCLASS_PROCESSES[number % len(JETCLASS_PROCESSES)]
        pattern = FILE_NAMES[self.experiment, self.format]
        return pattern.format(number=number, process=process)


class Dataset(Declaration):
    """Source files to stage into one sharded Zarr store, and the preparation of their events.

    The sources are a simulation of this campaign, or `splits` of patterns below `folder`, which may
    be an address (https://, root://, zip://…::https://…). With `fractions` the events of all files
    are dealt to splits by a hash of their id. What is not given is as the experiment has it. An
    experiment of the user's own is "file.py:NAME" (docs/other-disciplines.md).

    `files` says how many files each split has: a run begins with no fewer, and a plan may be made
    where they are not. `mean_points` of an event are for estimates, before there is a store.
    """

    experiment: Kind
    simulation: str = ""
    folder: str = ""
    splits: dict[Name, tuple[str, ...]] = {}
    files: dict[Name, PositiveInt] = {}
    fractions: dict[Name, PositiveFloat] = {}
    mean_points: PositiveFloat | None = None
    min_points: NonNegativeInt = 1
    max_points: PositiveInt | None = None
    neighbours: NonNegativeInt = 0
    order: Order | None = None
    bins: tuple[PositiveInt, PositiveInt, PositiveInt] = (8, 8, 6)
    bins_from: str = ""
    events_per_shard: PositiveInt | None = None
    chunk_points: PositiveInt = 8192
    codec: Literal["zstd", "lz4", "none"] = "zstd"

    @model_validator(mode="after")
    def _one_source(self) -> "Dataset":
        """Check that there is one kind of source."""
        if bool(self.simulation) == bool(self.folder and self.splits):
            message = "give either simulation, or folder and splits"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _files_of_splits(self) -> "Dataset":
        """Check that files are counted of splits that are there."""
        for name in self.files:
            if name not in self.splits:
                message = f"files.{name}: no such split; splits: {', '.join(self.splits) or 'none'}"
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _fractions_of_one(self) -> "Dataset":
        """Check that the fractions make a whole, and that they alone name splits."""
        if self.fractions and abs(sum(self.fractions.values()) - 1) > 1e-9:
            message = f"fractions sum to {sum(self.fractions.values()):g}; expected 1"
            raise ValueError(message)
        if self.fractions and len(self.splits) > 1:
            message = "fractions deal out the events of one list of files: give one in splits"
            raise ValueError(message)
        return self


UNTRAINED = Training(
    events_seen=1, batch_events=1, learning_rate=1.0, checkpoint_events=1, walltime_minutes=60
)


class Tokenize(Declaration):
    """A tokenizer of a dataset of jets: what `pretrain` and `probe` may name as their dataset.

    It is trained on the first `events` jets of `split`, all if None, and then makes tokens of every
    split. Bins are not trained; `training` gives their devices and walltime alone.

    In place of a `model`, `like` names another tokenizer, which is taken as it was trained: so that
    jets of another kind become the tokens that a pretrained model knows.
    """

    dataset: str
    split: str = "train"
    events: PositiveInt | None = None
    seed: NonNegativeInt = 1
    like: str = ""
    model: AnyTokenizer | None = None
    training: Training = UNTRAINED

    @model_validator(mode="after")
    def _trained(self) -> "Tokenize":
        """Check that there is one tokenizer, and that what has weights is trained."""
        if bool(self.like) == (self.model is not None):
            message = "give either model, or like = the tokenizer to take as it was trained"
            raise ValueError(message)
        if self.model is None:
            return self
        if self.model.parameters().trained and self.training == UNTRAINED:
            message = f"training: {self.model.family} is learnt; say how in a section .training"
            raise ValueError(message)
        return self


class Pretrain(Declaration):
    """The pretraining grid: models × data sizes × seeds on one dataset or its tokens.

    `by_model` gives a model a dataset or data sizes of its own, and changes keys of `training` for
    it: devices, walltime, a rate.

    With `same_epochs` the training is that on the largest of a model's sizes; on fewer events it
    sees fewer, in proportion, and gets its share of the walltime. Else all see as many.

    With `branch`, one trunk a model and seed serves all sizes, each a decay that branches from it.
    The walltime is that of the longest training; trunk and branches get their share of it.
    """

    dataset: str
    split: str = "train"
    models: tuple[str, ...]
    events: tuple[PositiveInt, ...]
    seeds: tuple[NonNegativeInt, ...] = (1,)
    branch: bool = False
    same_epochs: bool = False
    validation: Validation | None = None
    training: Training
    by_model: dict[Name, Own] = {}

    @model_validator(mode="after")
    def _own(self) -> "Pretrain":
        """Check what models have of their own, and that the sizes can branch, if they shall."""
        for name in self.by_model:
            if name not in self.models:
                message = f"by_model: {name!r} is none of models: {', '.join(self.models)}"
                raise ValueError(message)
        if self.branch and self.same_epochs:
            message = "branch passes the data once: leave same_epochs out"
            raise ValueError(message)
        for name in self.models:
            try:
                training = self.training_of(name)
                if self.branch:
                    branching.check(training, self.events_of(name))
                for events in self.events_of(name) if self.same_epochs else ():
                    self.training_on(name, events)
            except ValueError as error:
                where = f"by_model.{name}.training: " if name in self.by_model else ""
                message = f"{where}{error}"
                raise ValueError(message) from error
        return self

    def dataset_of(self, model: str) -> str:
        """Return the dataset, or the tokens, that a model is trained on."""
        own = self.by_model.get(model)
        return own.dataset if own is not None and own.dataset else self.dataset

    def events_of(self, model: str) -> tuple[int, ...]:
        """Return the data sizes of a model."""
        own = self.by_model.get(model)
        return own.events if own is not None and own.events else self.events

    def training_of(self, model: str) -> Training:
        """Return how a model is trained, on the largest of its sizes if they differ in that."""
        own = self.by_model.get(model)
        return self.training if own is None else changed(self.training, own.training)

    def training_on(self, model: str, events: int) -> Training:
        """Return how a model is trained on so many events."""
        training = self.training_of(model)
        if not self.same_epochs:
            return training
        return in_proportion(training, events, max(self.events_of(model)))


class Finetune(Declaration):
    """The fine-tuning fan-out: modes × label counts × seeds, for each pretrained model.

    `frozen` trains the head alone; `lora` the head and, of each matrix of the backbone, a change of
    `lora_rank`; `full` all weights; `scratch` all, from random ones; `head` those of the head on
    embedded points, without the backbone's layers: what the head can do alone.

    With `cache` a frozen backbone sees each event once: the "mean" of its layers, or the "last", is
    kept in a store that all heads on it share. Without, a head learns how to combine the layers.

    Of `models` alone if any are named. With `same_epochs` the training is that on the most labels;
    on fewer it sees fewer events, in proportion, and gets its share of the walltime. `changes` are
    fields of the models that are other than in pretraining, of those that decide no shape: the
    columns of another discipline, its interaction.
    """

    dataset: str
    split: str = "train"
    test_split: str = "test"
    models: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = ("frozen", "full", "scratch")
    labels: tuple[PositiveInt, ...]
    seeds: tuple[NonNegativeInt, ...] = (1,)
    same_epochs: bool = False
    head: AnyTask = TrackTask()
    changes: dict[str, Any] = {}
    lora_rank: PositiveInt = 8
    cache: Literal["", "mean", "last"] = ""
    validation: Validation | None = None
    training: Training

    def model_of(self, model: M) -> M:
        """Return how a pretrained model is fine-tuned.

        Raises:
            ValueError: What is to change cannot be so, or decides shapes of the weights.
        """
        return adapted(model, self.changes) if self.changes else model

    def training_on(self, labels: int) -> Training:
        """Return how a model is trained on so many labelled events."""
        if not self.same_epochs:
            return self.training
        return in_proportion(self.training, labels, max(self.labels))

    @model_validator(mode="after")
    def _fits_all_labels(self) -> "Finetune":
        """Check that the training can be as short as the fewest labels ask."""
        self.training_on(min(self.labels, default=1))
        return self


class Probe(Declaration):
    """Pretrained models on events that none of them saw: held-out losses, and what they make.

    Of `models` alone if any are named.
    """

    dataset: str
    split: str = "test"
    models: tuple[str, ...] = ()
    events: PositiveInt | None = None
    seed: NonNegativeInt = 1
    threads: PositiveInt = 1
