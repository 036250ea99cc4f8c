"""One record of the ledger: a thing that happened to a job."""

from enum import StrEnum

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from pipeline import clock
from pipeline.catalog import Declaration
from pipeline.job import State


class Kind(StrEnum):
    """What happened to a job, in the order in which it can happen."""

    RESERVE = "reserve"
    SUBMIT = "submit"
    START = "start"
    END = "end"
    RELEASE = "release"
    RECONCILE = "reconcile"


ORDER = {kind: index for index, kind in enumerate(Kind)}


class Record(Declaration):
    """One thing that happened to one job, at `time` (seconds since 1970).

    `node_hours` is what the job may cost at most in a reserve, and what it was charged in an end
    or a reconcile: always the whole job, never a difference. A `job_key` stands for one job for
    ever: the next link of a chain has the next key. A link of a bundle shares its batch job, whose
    own key is `batch_key`, with others; `nodes` and `node_hours` are its share. Of a task in pilots
    that is their kind; they carry the charge. `energy_joules` is the job's share too, None where
    the site does not measure it.
    """

    kind: Kind
    time: NonNegativeFloat = Field(default_factory=clock.time)
    site: str
    stage: str
    task: str
    job_key: str
    job_id: str = ""
    batch_key: str = ""
    nodes: NonNegativeFloat = 0.0
    seconds: NonNegativeInt = 0
    node_hours: NonNegativeFloat = 0.0
    energy_joules: NonNegativeFloat | None = None
    state: State | None = None
    note: str = ""

    @property
    def moment(self) -> tuple[float, int]:
        """What records are sorted by: the time, then the order of `Kind`."""
        return self.time, ORDER[self.kind]
