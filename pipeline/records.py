"""What one process writes and another reads: one model per file, so that no reader knows keys.

Each file is written whole. One that is damaged, or that another program wrote, is a `RunError` that
names the file.
"""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.outcome import Outcome, RunError, named
from pipeline.writing import create_text, write_text


class Record(BaseModel):
    """The content of one file: immutable, without keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
    """How a task ended, whatever it made: the first fields of each `result.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    outcome: str
    message: str = ""
    seconds: float | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the task has its product."""
        return self.outcome == "finished"

    @property
    def row(self) -> Outcome:
        """What follows from the outcome."""
        return named(self.outcome)


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
