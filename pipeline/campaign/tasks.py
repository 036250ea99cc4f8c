"""The tasks that a campaign resolves into, each with a key and a file of its own."""

from pathlib import Path
from typing import Annotated, Literal

import tomli_w
from pydantic import NonNegativeInt, PositiveInt

from pipeline.campaign.model_folder import SourceFiles
from pipeline.campaign.sections import Dataset, Mode, Simulation
from pipeline.campaign.training import Training, Validation
from pipeline.catalog import INCIDENTAL, Declaration
from pipeline.downstream import AnyTask
from pipeline.families import AnyTokenizer, Model


class Resolved(Declaration):
    """A task with all its keys; `contents` is the SHA-256 of what it takes from outside of the run.

    That is of stores and weights by the key that has their path, and of files of own code by name.
    """

    key: str
    needs: tuple[str, ...] = ()
    contents: dict[str, str] = {}


class SimulateTask(Resolved):
    """Make the files of one simulation; one part per file."""

    stage: Literal["simulate"] = "simulate"
    seed: int
    simulation: Simulation
    output: Path

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        """The (split, file) of each part; an npz set is named by its spacepoints."""
        return tuple(
            (split, self.output / split / self.simulation.file_name(number))
            for split, count in self.simulation.files.items()
            for number in range(count)
        )


class StageTask(Resolved):
    """Stage source files, paths or addresses, into one Zarr store; one part per source file."""

    stage: Literal["stage"] = "stage"
    dataset: Dataset
    sources: dict[str, tuple[str, ...]]
    store: Path
    bins_store: Path

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """The (split, file) of each part; a file's place in this list is its ordinal.

        The split is empty where events are dealt to splits one by one.
        """
        dealt = bool(self.dataset.fractions)
        return tuple(
            ("" if dealt else split, name)
            for split, names in self.sources.items()
            for name in names
        )


class FetchTask(Resolved):
    """Copy the store at `address` to `store`, each file held to its manifest."""

    stage: Literal["fetch"] = "fetch"
    address: str
    store: Path


class TokenizeTask(Resolved):
    """Train a tokenizer on the first `events` jets (all, if None) of a split of the store `jets`.

    Or take that which was trained in the folder `trained`. Then write the tokens of all its splits
    to `store`, a shard for each of its shards.
    """

    stage: Literal["tokenize"] = "tokenize"
    seed: int
    model: AnyTokenizer
    jets: Path
    split: str
    events: PositiveInt | None = None
    store: Path
    chunk_points: PositiveInt = 8192
    codec: Literal["zstd", "lz4", "none"] = "zstd"
    training: Training
    trained: Path | None = None


class Trunk(Declaration):
    """Where a branch begins: the checkpoint of another pretraining after `events_seen` events."""

    folder: Path
    events_seen: PositiveInt


class PretrainTask(Resolved):
    """Pretrain one model on `events` events of a store.

    They are a subset, passed as often as the training asks; or, of `one_pass`, the first so many
    that a pass over the whole split visits, so that the trunk and all its branches see the same. A
    trunk keeps its checkpoints at `branch_points`, counted in events seen; a branch begins at one.
    """

    stage: Literal["pretrain"] = "pretrain"
    seed: int
    model: Model
    store: Path
    split: str
    events: PositiveInt
    one_pass: bool = False
    branch_points: tuple[PositiveInt, ...] = ()
    training: Training
    validation: Validation | None = None
    trunk: Trunk | None = None


class FeaturesTask(Resolved):
    """Write to `store` what a frozen backbone makes of all events of the store `source`.

    Of the layers of a point the mean is kept, or the last.
    """

    stage: Literal["features"] = "features"
    model: Model
    backbone: Path
    combine: Literal["mean", "last"]
    source: Path
    store: Path
    chunk_points: PositiveInt = 8192
    codec: Literal["zstd", "lz4", "none"] = "zstd"
    threads: Annotated[PositiveInt, INCIDENTAL] = 1


class FinetuneTask(Resolved):
    """Fine-tune a head on a backbone that is frozen, adapted, trained along, or from scratch.

    `subset` is the seed that chooses the labelled events. `cached`: the store holds what the frozen
    backbone makes of its events, and the head is trained on that.
    """

    stage: Literal["finetune"] = "finetune"
    seed: int
    mode: Mode
    model: Model
    head: AnyTask
    lora_rank: PositiveInt = 8
    cached: bool = False
    backbone: Path | None = None
    store: Path
    split: str
    labels: PositiveInt
    subset: NonNegativeInt = 0
    training: Training
    validation: Validation | None = None


class EvaluateTask(Resolved):
    """Evaluate one fine-tuned model on a split it never saw."""

    stage: Literal["evaluate"] = "evaluate"
    seed: int
    finetuned: Path
    store: Path
    split: str
    threads: Annotated[PositiveInt, INCIDENTAL] = 1


class PredictTask(Resolved):
    """Predict all events of the source files `sources` with a fine-tuned model, into the file `to`.

    One part per file. It belongs to a run, and to no campaign: `cosmotron predict --pilots` asks
    for it. `features` is the folder of the task that wrote the features which the model was trained
    on; the weights are known by their content.
    """

    stage: Literal["predict"] = "predict"
    finetuned: Path
    weights_sha256: str
    features: Path | None = None
    source: SourceFiles
    sources: tuple[str, ...]
    to: Path

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """The (split, file) of each part, a path or an address of no split."""
        return tuple(("", name) for name in self.sources)


class ProbeTask(Resolved):
    """Evaluate one pretrained model as it is, on `events` events (all, if None) it never saw."""

    stage: Literal["probe"] = "probe"
    seed: int
    pretrained: Path
    store: Path
    split: str
    events: PositiveInt | None = None
    threads: Annotated[PositiveInt, INCIDENTAL] = 1


Task = (
    SimulateTask
    | StageTask
    | FetchTask
    | TokenizeTask
    | PretrainTask
    | FeaturesTask
    | FinetuneTask
    | EvaluateTask
    | ProbeTask
    | PredictTask
)
# Trainings take nodes for hours: a chain of batch jobs each. The others share pilots.
CHAINED = (TokenizeTask, PretrainTask, FinetuneTask)


def to_toml(declaration: Declaration) -> str:
    """Return `declaration` as TOML, every key resolved."""
    return tomli_w.dumps(declaration.model_dump(mode="json", exclude_none=True))
