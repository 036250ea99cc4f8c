"""What one process writes and another reads: one model per file, so that no reader knows keys.

Each file is written whole. One that is damaged, or that another program wrote, is a `RunError` that
names the file.
"""

import math
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pipeline.inside import Inside
from pipeline.outcome import Outcome, RunError, named
from pipeline.writing import create_text, write_text


class Record(BaseModel):
    """The content of one file: immutable, without keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


AnyRecord = TypeVar("AnyRecord", bound=Record)


def read(path: Path, kind: type[AnyRecord]) -> AnyRecord | None:
    """Return the record in `path`, None where there is no such file.

    Raises:
        RunError: The file is damaged, or holds something else.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        reason = f"{place}: {first['msg']}" if place else first["msg"]
        message = f"{path}: damaged ({reason}). Move it away and run again."
        raise RunError(message) from error


def write(path: Path, record: Record, *, durable: bool = True) -> None:
    """Write `record` as JSON, whole or not at all, without the fields that are None.

    One that is not `durable` may be the earlier one again after a crash of the node.
    """
    write_text(path, _text(record), durable=durable)


def create(path: Path, record: Record) -> bool:
    """Write a new file of `record`; return False, and change nothing, where there is one."""
    return create_text(path, _text(record))


def _text(record: Record) -> str:
    return record.model_dump_json(indent=2, exclude_none=True) + "\n"


# JSON has null for a number that is none, and for an end that is endless.
Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
End = Annotated[float, BeforeValidator(lambda value: math.inf if value is None else value)]
Scores = dict[str, Number]
Intervals = dict[str, tuple[float, End]]


class Ending(Record):
    """How a task ended, whatever it made: what each `result.json` has.

    The models of what a stage makes derive from this one. A reader names the fields it needs: one
    that asks for the weights of a training can read the result of a tokenizer, which has more.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    outcome: str
    message: str = ""
    seconds: float | None = None
    job_id: str | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the task has its product."""
        return self.outcome == "finished"

    @property
    def row(self) -> Outcome:
        """What follows from the outcome."""
        return named(self.outcome)


class Product(Ending):
    """The result of a task that has its product."""

    outcome: str = "finished"

    @property
    def summary(self) -> str:
        """The most important numbers in a few words, for a display."""
        return ""


class Part(Record):
    """`parts/NNN.json`: one finished part of a task; what made it derives from this one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    seconds: float | None = None


class Simulated(Product):
    """The result of a simulation; `means` are per event, of points, tracks and so on."""

    files: int
    events: int
    means: dict[str, float]

    @property
    def summary(self) -> str:
        """The events, and the points and tracks of one."""
        words = {"points": "{:.0f} points", "tracks": "{:.1f} tracks"}
        means = [words[name].format(self.means[name]) for name in words if name in self.means]
        return ", ".join([f"{self.events:,} events", *means]) + (" an event" if means else "")


class Staged(Product):
    """The result of a staged store; events and points by split, rejected events by reason.

    `manifest_sha256` is the hash that closes its manifest: a store that was moved is known by it.
    """

    events: dict[str, int]
    points: dict[str, int]
    rejected: dict[str, int]
    shards: int
    manifest_sha256: str = ""

    @property
    def summary(self) -> str:
        """The events of all splits."""
        return f"{sum(self.events.values()):,} events"


class Weights(Product):
    """The result of a task that leaves weights; the hash is of their names and values."""

    weights_sha256: str = ""


class Trained(Weights):
    """The result of a training.

    `events` are the distinct ones, `events_seen` those of all passes; of a tokenizer they are those
    of its store, by split. `weights_are` is "last",
    "best", "average" or "best average". `loss` is that of the last batch, None if it is no number.
    `extra` is what the model adds, the kernels that it used for example.
    """

    events: int | dict[str, int] = 0
    events_seen: int = 0
    steps: int = 0
    loss: float | None = None
    parameters: int = 0
    parameters_trained: int = 0
    weights: str = ""
    weights_are: str = "last"
    best_checkpoint: str | None = None
    best_validation_loss: float | None = None
    processes: int = 1
    device: str = ""
    extra: dict[str, str] = Field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The events, and the last loss."""
        events = self.events if isinstance(self.events, int) else sum(self.events.values())
        return f"{events:,} events" + ("" if self.loss is None else f", loss {self.loss:.4f}")


class TokenQuality(Record):
    """How well the tokens of one split stand for its jets.

    `usage` is the share of the codes in use; `reconstruction` is the root mean square of decoded
    less true values, by feature.
    """

    usage: float
    perplexity: float
    reconstruction: dict[str, float]


class Tokenized(Trained):
    """The result of a tokenizer: of its training, and of the store of tokens that it made."""

    family: str
    codes: int
    splits: dict[str, TokenQuality]
    points: dict[str, int]
    rejected: dict[str, int]
    shards: int
    store_sha256: str


class Featured(Weights):
    """The result of writing a store with the features of a frozen backbone."""

    family: str
    combine: str
    events: dict[str, int]
    points: dict[str, int]
    shards: int
    store_sha256: str

    @property
    def summary(self) -> str:
        """The events of all splits."""
        return f"{sum(self.events.values()):,} events"


class Overlap(Record):
    """Events of one split that are among those that `task` was trained on.

    They are `events` of the `of` events of `split` of the store `store`, in its source `files`. An
    overlap that is not `exact` is the most that it can be.
    """

    task: str
    trained_store: str
    trained_split: str
    store: str
    split: str
    events: int
    of: int
    files: tuple[str, ...]
    exact: bool = True

    @property
    def sentence(self) -> str:
        """Which events, of what, in which files, for a message or the page."""
        where = f"{Path(self.trained_store).stem}, split {self.trained_split!r}"
        count = f"{'' if self.exact else 'up to '}{self.events:,} of {self.of:,}"
        first = (
            f"in {self.files[0]}"
            if len(self.files) == 1
            else (f"in {len(self.files)} files, the first is {self.files[0]}")
        )
        return (
            f"{count} events of {Path(self.store).stem}, split {self.split!r}, are among those "
            f"that {self.task} was trained on ({where}), {first}"
        )


class PredictionsFile(Record):
    """The file of an evaluation with what it predicted of every event."""

    file: Inside
    bytes: int
    sha256: str


class Evaluated(Weights):
    """The result of an evaluation: what was measured, on which events, of which model.

    `intervals` hold 68 % of resampled events each; that of a rejection is endless where no
    background passes. `task` is the word of the downstream task, `about` says
    in a word or two what a score means. `predictions_sha256` is by the array's name,
    `predictions` the file that holds them all; None of an earlier version, which kept a few.
    `overlap` are the events that the model was trained on, where the campaign allows that;
    `unknown_training` are weights of which nobody has said what they were trained on.
    """

    task: str
    scores: Scores
    intervals: Intervals = Field(default_factory=dict)
    about: dict[str, str] = Field(default_factory=dict)
    mode: str
    labels: int
    seed: int
    family: str
    width: int | None = None
    layers: int | None = None
    pretrained: str = ""
    steps: int
    batch_events: int
    learning_rate: float
    split: str
    events: int
    points: int
    store_sha256: str
    predictions_sha256: dict[str, str] = Field(default_factory=dict)
    predictions: PredictionsFile | None = None
    overlap: tuple[Overlap, ...] = ()
    unknown_training: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The events, and the first score."""
        name, value = next(iter(self.scores.items()), ("", math.nan))
        score = "" if math.isnan(value) else f", {name.replace('_', ' ')} {value:.3f}"
        return f"{self.events:,} events{score}"


class PredictRequest(Record):
    """Files to predict with the fine-tuned model in the folder `finetuned`, as `source` reads them.

    `source` is a `campaign.model_folder.SourceFiles`. `features` is the folder of the task that
    wrote the features which the model was trained on, "" for none.
    """

    finetuned: str
    features: str = ""
    source: dict[str, object]
    files: tuple[str, ...]
    to: str


class FileProgress(Record):
    """How many of `files` files are done; a part of one counts as such."""

    done: float
    files: int


class FilesPredicted(Product):
    """What was predicted of files: `events` of them, at so many a second of a model's time.

    `rejected` counts the others by reason, as a store does. `seconds` are those of one process for
    all files; where several share them, each has its own model.
    """

    to: str
    files: int
    events: int
    rejected: dict[str, int]
    seconds: float
    events_per_second: float
    device: str

    @property
    def summary(self) -> str:
        """The events and their rate."""
        return f"{self.events:,} events, {self.events_per_second:,.0f} events/s for each worker"


class Probed(Weights):
    """The result of a probe of a pretrained model, on `events` that it never saw.

    `losses` are "loss", the whole, and its parts by name; `scores` are the family's own.
    `pretraining_events` is None of a model whose weights come from elsewhere. `overlap` and
    `unknown_training` are as for `Evaluated`.
    """

    family: str
    losses: Scores
    scores: Scores = Field(default_factory=dict)
    intervals: Intervals = Field(default_factory=dict)
    about: dict[str, str] = Field(default_factory=dict)
    split: str
    events: int
    pretraining_events: int | None = None
    store_sha256: str
    overlap: tuple[Overlap, ...] = ()
    unknown_training: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The events, and the loss on them."""
        return f"{self.events:,} events, loss {self.losses['loss']:.4f}"


RESULTS: dict[str, type[Product]] = {
    "simulate": Simulated,
    "stage": Staged,
    "fetch": Staged,
    "features": Featured,
    "tokenize": Tokenized,
    "pretrain": Trained,
    "finetune": Trained,
    "evaluate": Evaluated,
    "probe": Probed,
    "predict": FilesPredicted,
}


class LinkRecord(Record):
    """`links/NNN.json`: the life of one link of a training.

    All times are in seconds since 1970, by clocks that may jump: `began`, when the batch script
    did; `started`, the program; `first_step` and `last_step`, the beginning of the first step and
    the end of the last one that is recorded; `ended`, all work done. `outcome` is empty while the
    link works: for ever, if it was killed.
    """

    number: int
    key: str = ""
    job_id: str = ""
    host: str = ""
    processes: int = 1
    device: str = ""
    began: float
    started: float = 0.0
    first_step: float | None = None
    last_step: float | None = None
    ended: float | None = None
    steps: int = 0
    events: int = 0
    saving_seconds: float = 0.0
    outcome: str = ""

    @property
    def last(self) -> float:
        """When the last recorded step ended; when the link began, if it took none."""
        return self.began if self.last_step is None else max(self.began, self.last_step)

    @property
    def end(self) -> float:
        """When all work was done; when the last step was, if the end is not known."""
        return self.last if self.ended is None else max(self.last, self.ended)

    @property
    def start_up_seconds(self) -> float:
        """The time from the start of the batch script to the first step."""
        return 0.0 if self.first_step is None else max(0.0, self.first_step - self.began)

    @property
    def step_seconds(self) -> float:
        """The time of all steps up to the last recorded one, without what checkpoints took."""
        return max(0.0, self.last - self.began - self.start_up_seconds - self.saving_seconds)


class Heartbeat(Record):
    """`heartbeat.json`: when the first process of a training last made progress, and where.

    `seconds` are those since its batch script began, by the clock of its node.
    """

    time: float
    seconds: float = 0.0
    link: str = ""
    job: str = ""
    host: str = ""
    step: int = 0


class Beginning(Record):
    """`beginning.json`: where a training began whose folder held another product before.

    It goes on after `events_seen` events of that one, or begins afresh at 0. The task's jobs in the
    ledger up to the number `last_job` worked for the other.
    """

    events_seen: int = 0
    last_job: int = 0


class TaskProgress(Record):
    """`progress.json`: how far a task is."""

    done: int
    total: int
    unit: str
    loss: float | None = None


class NodeFailure(Record):
    """One file in `node-failures/`: the end of a job that may be the fault of a node."""

    outcome: str
    nodes: tuple[str, ...]
    time: float
