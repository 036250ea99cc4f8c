"""What one process writes and another reads: one model per file, so that no reader knows keys.

Each file is written whole. One that is damaged, or that another program wrote, is a `RunError` that
names the file.
"""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

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


def write(path: Path, record: Record) -> None:
    """Write `record` as JSON, whole or not at all, without the fields that are None."""
    write_text(path, _text(record))


def create(path: Path, record: Record) -> bool:
    """Write a new file of `record`; return False, and change nothing, where there is one."""
    return create_text(path, _text(record))


def _text(record: Record) -> str:
    return record.model_dump_json(indent=2, exclude_none=True) + "\n"


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


class Simulated(Product):
    """The result of a simulation; `means` are per event, of points, tracks and so on."""

    files: int
    events: int
    means: dict[str, float]


class Staged(Product):
    """The result of a staged store; events and points by split, rejected events by reason."""

    events: dict[str, int]
    points: dict[str, int]
    rejected: dict[str, int]
    shards: int


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


class Summary(Ending):
    """What a display shows of any result: a few numbers, each where the task has it."""

    events: int | dict[str, int] | None = None
    loss: float | None = None
    ari: float | None = None
    means: dict[str, float] = Field(default_factory=dict)


class LinkRecord(Record):
    """`links/NNN.json`: the life of one link of a training.

    All times are in seconds since 1970: `began`, when the batch script did; `started`, the program;
    `first_step` and `last_step`, the beginning of the first step and the end of the last one that
    is recorded; `ended`, all work done. `outcome` is empty while the link works: for ever, if it
    was killed.
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
        return self.began if self.last_step is None else self.last_step

    @property
    def end(self) -> float:
        """When all work was done; when the last step was, if the end is not known."""
        return self.last if self.ended is None else self.ended

    @property
    def start_up_seconds(self) -> float:
        """The time from the start of the batch script to the first step."""
        return 0.0 if self.first_step is None else self.first_step - self.began

    @property
    def step_seconds(self) -> float:
        """The time of all steps up to the last recorded one, without what checkpoints took."""
        return max(0.0, self.last - self.began - self.start_up_seconds - self.saving_seconds)


class Heartbeat(Record):
    """`heartbeat.json`: when the first process of a training last made progress, and where."""

    time: float
    link: str = ""
    job: str = ""
    host: str = ""
    step: int = 0


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
