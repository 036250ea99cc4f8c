"""The ledger records that the job manager derives from other records and accounts."""

from typing import Any

from pipeline import clock
from pipeline.budget.account import Account
from pipeline.budget.record import Kind, Record
from pipeline.job import State


def found_again(account: Account, job_id: str) -> Record:
    """Return the submission record of a job whose submission was never answered."""
    return _of(account, kind=Kind.SUBMIT, job_id=job_id, note="found again")


def lost(account: Account, why: str, seconds: int = 0, node_hours: float = 0.0) -> Record:
    """Return the end record of a job that the scheduler no longer knows, and `why`, if known.

    It is charged the `seconds` that its link recorded.
    """
    known: dict[str, Any] = {"kind": Kind.END, "state": State.UNKNOWN, "job_id": account.job_id}
    known |= {"seconds": seconds, "node_hours": node_hours}
    return _of(account, **known, note=why or "the scheduler does not know it")


def _of(account: Account, **facts: Any) -> Record:
    return Record(
        site=account.site,
        stage=account.stage,
        task=account.task,
        job_key=account.job_key,
        batch_key=account.batch_key,
        qos=account.qos,
        nodes=account.nodes,
        **facts,
    )


def following(record: Record, kind: Kind, job_id: str = "") -> Record:
    """Return a record of another `kind` for the job of `record`, dated now."""
    changes = {"kind": kind, "time": clock.time(), "job_id": job_id, "node_hours": 0.0}
    return record.model_copy(update=changes)
