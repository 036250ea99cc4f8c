"""What the desk writes into the ledger of a job that it is not told of."""

from typing import Any

from pipeline import clock
from pipeline.budget.account import Account
from pipeline.budget.record import Kind, Record
from pipeline.job import State


def submitted(account: Account, job_id: str) -> Record:
    """Return the record that the job of `account` is there, though nobody heard so."""
    return _of(account, kind=Kind.SUBMIT, job_id=job_id, note="found again")


def forgotten(account: Account) -> Record:
    """Return the record that the job of `account` is over, for all that anybody knows."""
    known = {"kind": Kind.END, "state": State.UNKNOWN, "job_id": account.job_id}
    return _of(account, **known, note="the scheduler does not know it")


def _of(account: Account, **what: Any) -> Record:
    return Record(
        site=account.site,
        stage=account.stage,
        task=account.task,
        job_key=account.job_key,
        batch_key=account.batch_key,
        nodes=account.nodes,
        **what,
    )


def after(record: Record, kind: Kind, job_id: str = "") -> Record:
    """Return a record of another kind for the job of `record`, now."""
    changes = {"kind": kind, "time": clock.time(), "job_id": job_id, "node_hours": 0.0}
    return record.model_copy(update=changes)
