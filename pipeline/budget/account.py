"""The account of a job: what its ledger records add up to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.budget.record import BY_ITS_LINK, Kind, Record
from pipeline.job import JobHandle

DUPLICATE = "+"  # between a key and the id of a second job with that key


@dataclass(frozen=True)
class Account:
    """The node-hours reserved for one job, those charged, and the state of the job.

    `start` and `end` are seconds since 1970, None before they happen. `state` is "reserved",
    "submitted", "running", "released", or how the job ended (`pipeline.job.State`). `batch_key` is
    the key of the bundle that it is a part of, empty for a job of its own. `since` is the time of
    the first record: the job was not submitted before. The end of a `provisional` one is what the
    link itself knew: accounting has not confirmed it, and it keeps its reservation. `user` is who
    submitted the job, empty where an older version recorded it, and `qos` its queue, None then.
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
    since: float = 0.0
    provisional: bool = False
    user: str = ""
    qos: str | None = None

    @property
    def known_as(self) -> str:
        """The key by which the scheduler knows the job."""
        return self.batch_key or self.job_key.partition(DUPLICATE)[0]

    @property
    def handle(self) -> JobHandle:
        """The job for the scheduler; its id is empty if it was not submitted."""
        return JobHandle(self.job_id, self.known_as, self.since)


def replay(records: Iterable[Record]) -> Account:
    """Return the account that the `records` of one job, in their order, amount to.

    The last record of each kind counts, so a repeated record changes nothing. Of an end and a
    reconcile record the later one counts. A job that ended reserves nothing; a released one
    reserves node-hours only if it was reserved again.
    """
    ordered = list(records)
    last = {record.kind: record for record in ordered}
    final = _latest(ordered, Kind.END, Kind.RECONCILE)
    reservation = _latest(ordered, Kind.RESERVE, Kind.RELEASE)
    newest_first = [*([final] if final else []), *reversed(ordered)]
    return Account(
        site=ordered[0].site,
        stage=ordered[0].stage,
        task=ordered[0].task,
        job_key=ordered[0].job_key,
        job_id=next((record.job_id for record in newest_first if record.job_id), ""),
        nodes=next((record.nodes for record in newest_first if record.nodes), 0.0),
        reserved_node_hours=_reserved(reservation, final),
        charged_node_hours=final.node_hours if final else 0.0,
        seconds=final.seconds if final else 0,
        start=_time(last.get(Kind.START)),
        end=_time(last.get(Kind.END, final)),
        state=_state(last, final, reservation),
        batch_key=next((each.batch_key for each in newest_first if each.batch_key), ""),
        energy_joules=final.energy_joules if final else None,
        since=ordered[0].time,
        provisional=_is_provisional(final),
        user=last.get(Kind.SUBMIT, ordered[0]).user,
        qos=ordered[-1].qos,
    )


def _reserved(reservation: Record | None, final: Record | None) -> float:
    """Return the node-hours that a job still reserves."""
    if reservation is None or reservation.kind is not Kind.RESERVE:
        return 0.0
    if final is None:
        return reservation.node_hours
    left = max(0.0, reservation.node_hours - final.node_hours)
    return left if _is_provisional(final) else 0.0


def _is_provisional(final: Record | None) -> bool:
    """Whether the end of a job is what its link knew itself."""
    return final is not None and final.note == BY_ITS_LINK


def _time(record: Record | None) -> float | None:
    return record.time if record is not None else None


def _latest(ordered: Sequence[Record], *kinds: Kind) -> Record | None:
    """Return the latest record of `kinds`, None where there is none."""
    return next((record for record in reversed(ordered) if record.kind in kinds), None)


def _state(last: dict[Kind, Record], final: Record | None, reservation: Record | None) -> str:
    """Return the state of a job, as in `Account.state`."""
    if final is not None:
        return str(final.state or "ended")
    if reservation is not None and reservation.kind is Kind.RELEASE:
        return "released"
    if Kind.START in last:
        return "running"
    return "submitted" if Kind.SUBMIT in last else "reserved"
