"""The sections of a campaign file, each as strict as the rest."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from pipeline.campaign import branching
from pipeline.campaign.cells import M, ModelChanges, adapted, changed, in_proportion
from pipeline.campaign.training import Training, Validation
from pipeline.catalog import INCIDENTAL, Declaration, is_resolved
from pipeline.downstream import AnyTask
from pipeline.downstream.tracks.spec import TrackTask
from pipeline.families import AnyTokenizer

Mode = Literal["frozen", "lora", "full", "scratch", "head"]
Order = Literal["file", "time", "none", "EPR", "REP", "RPE", "PER", "hilbert", "zorder"]
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
# Keys of a dataset that no staged store can be held to, and that change nothing in it.
OF_STAGING = (*("reader", "sha256", "files", "bins", "bins_from", "bins_file", "events_per_shard"),)


def _absolute(name: str, info: ValidationInfo) -> str:
    """Return the name of an experiment; that of a custom one with the absolute path of its file."""
    file, _, variable = name.rpartition(":")
    if not file.endswith(".py") or is_resolved(info):
        return name
    if not Path(file).is_file():
        message = f"{file}: no such file, from {Path.cwd()}"
        raise ValueError(message)
    return f"{Path(file).resolve()}:{variable}"


Kind = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9-]*$|\.py:[A-Za-z_]\w*$"),
    AfterValidator(_absolute),
]


class Simulation(Declaration):
    """Sample files to simulate, in a schema that the experiment uses."""

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
        """Return the name of file `number`, in the naming scheme of the experiment."""
        process = JETCLASS_PROCESSES[number % len(JETCLASS_PROCESSES)]
        pattern = FILE_NAMES[self.experiment, self.format]
        return pattern.format(number=number, process=process)


class Dataset(Declaration):
    """Source files to stage into one sharded Zarr store, and the preparation of their events.

    The sources are a simulation of this campaign, or `splits` of patterns below `folder`, which may
    be an address (https://, root://, zip://…::https://…). With `fractions` the events of all files
    are dealt to splits by a hash of their id. Keys that are not set take the experiment's defaults.
    A custom experiment is "file.py:NAME" (docs/other-disciplines.md).

    An event's id comes from its file's content and its place there; or from `event_key`, an array
    of whole numbers that tells all events of the experiment from each other. "file" is the former.

    Voxel orders need bins, as many as `bins` says, fitted on the first training file; or those of
    the dataset `bins_from`; or those in `bins_file` (.json, .npz, or a pickle of numbers), which a
    published model was trained with.

    `sha256` is a file of known SHA-256, as sha256sum writes them, to which all sources are held.
    `reader` are options of the experiment's reader: `reader = { pulses = "SRTInIcePulses" }`.

    `files` is the number of files of each split: a run needs that many, and a plan can be made
    where the files are absent. `mean_points` per event serves estimates before there is a store.

    Instead of sources, `store` is a store that is staged already, by `cosmotron stage` or another
    campaign: nothing is written there. It is held to those keys that are given. One at an address
    is fetched into the run.
    """

    experiment: Kind
    reader: dict[Name, str] = {}
    sha256: Annotated[str, INCIDENTAL] = ""
    simulation: Annotated[str, INCIDENTAL] = ""
    folder: Annotated[str, INCIDENTAL] = ""
    splits: Annotated[dict[Name, tuple[str, ...]], INCIDENTAL] = {}
    store: Annotated[str, INCIDENTAL] = ""
    files: Annotated[dict[Name, PositiveInt], INCIDENTAL] = {}
    fractions: dict[Name, PositiveFloat] = {}
    mean_points: Annotated[PositiveFloat | None, INCIDENTAL] = None
    event_key: str = ""
    min_points: NonNegativeInt = 1
    max_points: PositiveInt | None = None
    neighbours: NonNegativeInt = 0
    order: Order | None = None
    bins: tuple[PositiveInt, PositiveInt, PositiveInt] = (8, 8, 6)
    bins_from: Annotated[str, INCIDENTAL] = ""
    bins_file: str = ""
    events_per_shard: PositiveInt | None = None
    chunk_points: PositiveInt = 8192
    codec: Literal["zstd", "lz4", "none"] = "zstd"

    @model_validator(mode="after")
    def _one_source(self) -> "Dataset":
        """Check that there is exactly one kind of source."""
        kinds = (self.simulation, self.folder and self.splits, self.store)
        if sum(map(bool, kinds)) != 1 or (self.store and (self.folder or self.splits)):
            message = "give either simulation, or folder and splits, or store"
            raise ValueError(message)
        return self

    @property
    def address(self) -> str:
        """The address of a store that is fetched, empty if it is a path, or staged."""
        return self.store if "://" in self.store else ""

    @model_serializer(mode="wrap")
    def _as_declared(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return the content; of a store, what was said of it alone, since it is held to that."""
        content: dict[str, Any] = whole(self)
        if not self.store:
            return content
        return {name: each for name, each in content.items() if name in self.model_fields_set}

    @model_validator(mode="after")
    def _staged_already(self) -> "Dataset":
        """Check that nothing is required of a staged store that is of its staging."""
        given = [name for name in OF_STAGING if name in self.model_fields_set]
        if self.store and given:
            message = f"store is staged already: leave {', '.join(given)} out"
            raise ValueError(message)
        return self

    @field_validator("store")
    @classmethod
    def _store_anywhere(cls, store: str) -> str:
        """Return the store as a job finds it, from the root on unless it is an address."""
        if not store or "://" in store:
            return store
        return str(Path(os.path.expandvars(store)).expanduser().absolute())

    @field_validator("bins_file", "sha256")
    @classmethod
    def _anywhere(cls, file: str) -> str:
        """Return the file as a job finds it, which starts elsewhere than the user's command."""
        return str(Path(file).absolute()) if file else ""

    @model_validator(mode="after")
    def _one_origin_of_bins(self) -> "Dataset":
        """Check that bins come from one place."""
        if self.bins_file and self.bins_from:
            message = "give either bins_from, another dataset, or bins_file"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _files_of_splits(self) -> "Dataset":
        """Check that `files` counts the files of declared splits."""
        for name in self.files:
            if name not in self.splits:
                message = f"files.{name}: no such split; splits: {', '.join(self.splits) or 'none'}"
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _fractions_of_one(self) -> "Dataset":
        """Check that the fractions sum to 1, and that no other key names splits."""
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
    """A tokenizer of a dataset of jets, which `pretrain` and `probe` may name as their dataset.

    It is trained on the first `events` jets of `split`, all if None, and then makes tokens of every
    split. Bins are not trained; for them `training` sets only devices and walltime.

    Instead of a `model`, `like` names another tokenizer, whose trained weights are used. So jets of
    another kind become the tokens that a pretrained model knows.
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
        """Check that there is one tokenizer, and a training if it has weights."""
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

    `by_model` sets another dataset or other data sizes for a model, and changes keys of `training`
    for it, such as devices, walltime or learning rate.

    With `same_epochs`, `training` describes the largest of a model's sizes; a training on fewer
    events sees proportionally fewer and gets that share of the walltime. Without, all see equally
    many.

    With `branch`, one trunk per model and seed serves all sizes, each a decay that branches from
    it. The walltime is that of the longest training; trunk and branches get their share of it.
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
    by_model: dict[Name, ModelChanges] = {}

    @model_validator(mode="after")
    def _fits_models(self) -> "Pretrain":
        """Check the changes of each model, and that the sizes can branch if they have to."""
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
        changes = self.by_model.get(model)
        return changes.dataset if changes is not None and changes.dataset else self.dataset

    def events_of(self, model: str) -> tuple[int, ...]:
        """Return the data sizes of a model."""
        changes = self.by_model.get(model)
        return changes.events if changes is not None and changes.events else self.events

    def training_of(self, model: str) -> Training:
        """Return the training of a model; with `same_epochs` that on its largest size."""
        changes = self.by_model.get(model)
        return self.training if changes is None else changed(self.training, changes.training)

    def training_on(self, model: str, events: int) -> Training:
        """Return the training of a model on `events` events."""
        training = self.training_of(model)
        if not self.same_epochs:
            return training
        return in_proportion(training, events, max(self.events_of(model)))


class Finetune(Declaration):
    """The fine-tuning fan-out: modes × label counts × seeds, for each pretrained model.

    `frozen` trains only the head; `lora` the head and a change of rank `lora_rank` of each matrix
    of the backbone; `full` all weights; `scratch` all weights, from random ones; `head` the head on
    embedded points, without the backbone's layers, as a baseline.

    With `cache` a frozen backbone sees each event once: the "mean" of its layers, or the "last", is
    kept in a store that all its downstream tasks share. Without, a head learns how to combine the
    layers.

    Each seed has labelled events of its own, the same for all modes, fewer of them among the more;
    with `same_labels` all seeds have the same.

    If `models` names any, only those are fine-tuned. With `same_epochs`, `training` describes the
    largest label count; a training on fewer labels sees proportionally fewer events and gets that
    share of the walltime. `changes` sets fields of the models that decide no shape of the weights,
    such as the columns of another discipline or its interaction.
    """

    dataset: str
    split: str = "train"
    test_split: str = "test"
    models: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = ("frozen", "full", "scratch")
    labels: tuple[PositiveInt, ...]
    seeds: tuple[NonNegativeInt, ...] = (1,)
    same_labels: bool = False
    same_epochs: bool = False
    head: AnyTask = TrackTask()
    changes: dict[str, Any] = {}
    lora_rank: PositiveInt = 8
    cache: Literal["", "mean", "last"] = ""
    validation: Validation | None = None
    training: Training

    def model_of(self, model: M) -> M:
        """Return the pretrained model as it is fine-tuned.

        Raises:
            ValueError: A change is refused, or decides a shape of the weights.
        """
        return adapted(model, self.changes) if self.changes else model

    def training_on(self, labels: int) -> Training:
        """Return the training on `labels` labelled events."""
        if not self.same_epochs:
            return self.training
        return in_proportion(self.training, labels, max(self.labels))

    @model_validator(mode="after")
    def _fits_all_labels(self) -> "Finetune":
        """Check that the training can be as short as the smallest label count needs."""
        self.training_on(min(self.labels, default=1))
        return self


class Probe(Declaration):
    """A probe of pretrained models on unseen events: losses, and each family's own probe.

    If `models` names any, only those are probed.
    """

    dataset: str
    split: str = "test"
    models: tuple[str, ...] = ()
    events: PositiveInt | None = None
    seed: NonNegativeInt = 1
    threads: PositiveInt = 1
