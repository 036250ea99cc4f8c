"""Where a job stands: the replay of its records."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.budget.record import Kind, Record


@dataclass(frozen=True)
class Account:
    """What is promised to one job, what it was charged, and how far it is.

    `start` and `end` are seconds since 1970, None before they happen. `state` is "reserved",
    "submitted", "running", "released", or how the job ended (`pipeline.job.State`). `batch_key` is
    the key of the bundle that it is a part of, empty for a job of its own.
    """

    site: str
    stage: str
    task: str
    job_key: str
    job_id: str
    nodes: float
    reserved_node_hours: float
    charged_node_hours: float
    seconds: int
    start: float | None
    end: float | None
    state: str
    batch_key: str = ""
    energy_joules: float | None = None

    @property
    def known_as(self) -> str:
        """The key by which the scheduler knows the job."""
        return self.batch_key or self.job_key


def replay(records: Iterable[Record]) -> Account:
    """Return the account that the `records` of one job amount to.

    The last record of each kind counts, so that saying a thing twice changes nothing. Of end and
    reconcile the later one counts. A job that ended holds no reservation; a released one only if
    it was reserved again.
    """
    ordered = sorted(records, key=lambda record: record.moment)
    last = {record.kind: record for record in ordered}
    final = _latest(last, Kind.END, Kind.RECONCILE)
    promise = _latest(last, Kind.RESERVE, Kind.RELEASE)
    held = promise is not None and promise.kind is Kind.RESERVE and final is None
    start, end = last.get(Kind.START), last.get(Kind.END, final)
    newest_first = [*([final] if final else []), *reversed(ordered)]
    return Account(
        site=ordered[0].site,
        stage=ordered[0].stage,
        task=ordered[0].task,
        job_key=ordered[0].job_key,
        job_id=next((record.job_id for record in newest_first if record.job_id), ""),
        nodes=next((record.nodes for record in newest_first if record.nodes), 0.0),
        reserved_node_hours=promise.node_hours if promise and held else 0.0,
        charged_node_hours=final.node_hours if final else 0.0,
        seconds=final.seconds if final else 0,
        start=start.time if start else None,
        end=end.time if end else None,
        state=_state(last, final, promise),
        batch_key=next((each.batch_key for each in newest_first if each.batch_key), ""),
        energy_joules=final.energy_joules if final else None,
    )


def _latest(last: dict[Kind, Record], *kinds: Kind) -> Record | None:
    """Return the latest record of `kinds`, None where there is none."""
    found = [last[kind] for kind in kinds if kind in last]
    return max(found, key=lambda record: record.moment, default=None)


def _state(last: dict[Kind, Record], final: Record | None, promise: Record | None) -> str:
    """Return how far a job is, as `Account.state` says it."""
    if final is not None:
        return str(final.state or "ended")
    if promise is not None and promise.kind is Kind.RELEASE:
        return "released"
    if Kind.START in last:
        return "running"
    return "submitted" if Kind.SUBMIT in last else "reserved"
