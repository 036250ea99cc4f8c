"""Bring the ledger up to what the scheduler's accounting says."""

from collections.abc import Callable, Mapping

from pipeline import clock
from pipeline.budget.account import Account
from pipeline.budget.cost import node_hours
from pipeline.budget.ledger import Ledger
from pipeline.budget.record import Kind, Record
from pipeline.job import JobStatus
from pipeline.site import Role, Site


def reconcile(
    ledger: Ledger,
    statuses: Mapping[str, JobStatus],
    site: Site,
    role_of: Callable[[Account], Role],
    note: str = "",
) -> list[Record]:
    """Append the records that the ledger lacks, and return them.

    A job without a submission, start or end record gets those. Where the ledger's seconds, nodes or
    final state differ from accounting's, a reconcile record replaces them; these records are the
    drift. A second call adds nothing.

    Args:
        ledger: The ledger to complete.
        statuses: The statuses by accounting, by job key; jobs unknown to the ledger are left alone.
        site: The site of that accounting; jobs of other sites are left alone.
        role_of: Returns the role of a job, whose queue determines the charge.
        note: Of the end records; `BY_ITS_LINK` leaves the last word to a later call.
    """
    accounts = ledger.accounts()
    known = [(accounts[key], status) for key, status in statuses.items() if key in accounts]
    written = [
        record
        for account, status in known
        if account.site == site.name
        for record in _missed(account, status, site, role_of(account), note)
    ]
    for record in written:
        ledger.append(record)
    return written


def _missed(account: Account, status: JobStatus, site: Site, role: Role, note: str) -> list[Record]:
    """Return the records that bring `account` up to `status`.

    A part of a bundle is charged its share of the nodes until the job's end, even if it was done
    before.
    """
    records = []
    now = clock.time()
    charged, status = _share(account, status, _charge(status, site, role))
    if not account.job_id:
        records.append(_record(Kind.SUBMIT, account, status, status.start or now))
    if account.start is None and status.start is not None:
        records.append(_record(Kind.START, account, status, status.start))
    if not status.state.is_over:
        return records
    if account.end is None:
        end = _record(Kind.END, account, status, status.end or now)
        records.append(end.model_copy(update={"node_hours": charged, "note": note}))
    elif (difference := _difference(account, status)) or account.provisional:
        drift = _record(Kind.RECONCILE, account, status, now)
        said = difference or "as its link knew"
        records.append(drift.model_copy(update={"node_hours": charged, "note": said}))
    return records


def _share(account: Account, status: JobStatus, charged: float) -> tuple[float, JobStatus]:
    """Return the share of an account in the charge and the status of its job."""
    if not (account.batch_key and status.nodes):
        return charged, status
    share = account.nodes / status.nodes
    joules = status.energy_joules and status.energy_joules * share
    changes = {"nodes": account.nodes, "energy_joules": joules}
    return charged * share, status.model_copy(update=changes)


def _charge(status: JobStatus, site: Site, role: Role) -> float:
    """Return the node-hours of a job; each attempt of a requeued job is charged by itself."""
    if status.state.is_over and status.end is None and not site.charges_lost_jobs:
        return 0.0
    attempts = status.attempts or (status.seconds,)
    return sum(
        node_hours(site, role, nodes=status.nodes, seconds=max(0, each)) for each in attempts
    )


def _record(kind: Kind, account: Account, status: JobStatus, when: float) -> Record:
    """Return the record of `kind` for `account`, with the facts of `status`."""
    return Record(
        kind=kind,
        time=when,
        site=account.site,
        stage=account.stage,
        task=account.task,
        job_key=account.job_key,
        job_id=status.id,
        batch_key=account.batch_key,
        qos=account.qos,
        nodes=status.nodes,
        seconds=max(0, status.seconds),
        state=status.state,
        energy_joules=status.energy_joules,
    )


def _difference(account: Account, status: JobStatus) -> str:
    """Return how the ledger differs from accounting, empty where it does not."""
    pairs = {
        "seconds": (account.seconds, status.seconds),
        "nodes": (account.nodes, status.nodes if status.seconds else account.nodes),
        "state": (account.state, str(status.state)),
    }
    return "; ".join(
        f"{name}: ledger {ours}, accounting {theirs}"
        for name, (ours, theirs) in pairs.items()
        if ours != theirs
    )
