"""A snapshot of a real campaign: its tasks on disk, and its jobs in the ledger."""

from pipeline import clock
from pipeline.budget.record import Kind
from pipeline.chains.job_manager import JobManager
from pipeline.chains.progress import Progress, all_progress
from pipeline.planning.plan import Plan
from pipeline.rehearsal.snapshot import Snapshot
from pipeline.scheduler import SchedulerError, connect


def poll(plan: Plan) -> tuple[Snapshot, str]:
    """Return a snapshot of a campaign, and the scheduler's error if it does not answer.

    Without an answer the ledger is as old as its last record.
    """
    manager = JobManager(plan, connect(plan.site, plan.run))
    unheard = ""
    try:
        manager.settle()
    except SchedulerError as error:
        unheard = f"{error} The forecast uses the last state of the jobs in the ledger."
    rows = all_progress([step.task for step in plan.steps], plan.run)
    submitted = {
        each.job_key: each.time for each in manager.ledger.records() if each.kind is Kind.SUBMIT
    }
    accounts = list(manager.ledger.accounts().values())
    return Snapshot(
        clock.time(), {row.key: _share(row) for row in rows}, accounts, submitted
    ), unheard


def _share(row: Progress) -> float:
    """Return how much of a task is done; what is not done lacks something."""
    if row.state == "done":
        return 1.0
    return min(0.99, row.done / row.total) if row.total else 0.0
