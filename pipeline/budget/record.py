"""One record of the ledger: an event in the life of a job."""

from enum import StrEnum

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from pipeline import clock
from pipeline.catalog import Declaration
from pipeline.job import State


class Kind(StrEnum):
    """The kinds of event, in the order in which they can happen."""

    RESERVE = "reserve"
    SUBMIT = "submit"
    START = "start"
    END = "end"
    RELEASE = "release"
    RECONCILE = "reconcile"


BY_ITS_LINK = "by its own link"
ORDER = {kind: index for index, kind in enumerate(Kind)}


class Record(Declaration):
    """One event of one job, at `time` (seconds since 1970).

    `node_hours` is the most that the job may cost in a reserve record, and its charge in an end or
    reconcile record: always of the whole job, never a difference. A `job_key` belongs to one job
    for ever: the next link of a chain has the next key.

    A link of a bundle shares a batch job, whose key is `batch_key`; `nodes` and `node_hours` are
    its share. For a task in pilots `batch_key` is their kind; the pilots carry the charge.
    `energy_joules` is the link's share too, None where the site does not measure it.

    `qos` is the queue of a training's job, which decides its charge; None where an older version
    recorded it, and for pilots. `user` is who wrote the record, as the ledger notes: of a
    submission, whose job it is.

    The order of records is that of their numbers in the ledger; `time` is by the writer's clock,
    and orders nothing. A record with the note `BY_ITS_LINK` is what a link knew of itself.
    """

    kind: Kind
    time: NonNegativeFloat = Field(default_factory=clock.time)
    site: str
    stage: str
    task: str
    job_key: str
    job_id: str = ""
    batch_key: str = ""
    qos: str | None = None
    nodes: NonNegativeFloat = 0.0
    seconds: NonNegativeInt = 0
    node_hours: NonNegativeFloat = 0.0
    energy_joules: NonNegativeFloat | None = None
    state: State | None = None
    note: str = ""
    user: str = ""

    @property
    def moment(self) -> tuple[float, int]:
        """The time, then the order of `Kind`: how records without a number are sorted."""
        return self.time, ORDER[self.kind]
