"""What the desk writes into the ledger of a job that it is not told of."""

from pipeline import clock
from pipeline.budget.account import Account
from pipeline.budget.record import Kind, Record
from pipeline.job import State


def submitted(account: Account, job_id: str) -> Record:
    """Return the record that the job of `account` is there, though nobody heard so."""
    return Record(
        kind=Kind.SUBMIT,
        site=account.site,
        stage=account.stage,
        task=account.task,
        job_key=account.job_key,
        batch_key=account.batch_key,
        job_id=job_id,
        nodes=account.nodes,
        note="found again",
    )


def forgotten(account: Account) -> Record:
    """Return the record that the job of `account` is over, for all that anybody knows."""
    return Record(
        kind=Kind.END,
        site=account.site,
        stage=account.stage,
        task=account.task,
        job_key=account.job_key,
        batch_key=account.batch_key,
        job_id=account.job_id,
        nodes=account.nodes,
        state=State.UNKNOWN,
        note="the scheduler does not know it",
    )


def after(record: Record, kind: Kind, job_id: str = "") -> Record:
    """Return a record of another kind for the job of `record`, now."""
    changes = {"kind": kind, "time": clock.time(), "job_id": job_id, "node_hours": 0.0}
    return record.model_copy(update=changes)
