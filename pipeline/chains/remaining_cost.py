"""What trainings that were begun have still to come: what begins now leaves room for it."""

from collections.abc import Iterable, Mapping

from pipeline.budget.account import Account
from pipeline.budget.guard import ToCome
from pipeline.budget.ledger import Ledger
from pipeline.planning.plan import Plan


def to_come(plan: Plan, ledger: Ledger, asked: Mapping[str, float]) -> ToCome:
    """Return the node-hours for which the guard keeps room before tasks may submit a job.

    None if each of them was begun before: a chain goes on as long as its next job fits under the
    cap, so that two chains never wait for each other. To begin one is another matter. It has to fit
    as a whole, beside what the plan still has for all those with a job that has not ended.

    Args:
        plan: Says what each training comes to.
        ledger: Says what was begun.
        asked: The node-hours that the job asks, by the tasks that share it.
    """
    known = ledger.of_tasks(asked).items()  # a job that the queue refused began nothing
    unknown = [key for key, jobs in known if not any(each.job_id for each in jobs)]
    if not unknown:
        return ToCome()
    steps = {step.task.key: step for step in plan.steps if not step.in_pilot}
    new = [key for key in unknown if key in steps]  # not pilots, which nothing is kept for
    if not new:
        return ToCome()
    live = {each.task for each in ledger.unended(plan.site.name)} & steps.keys() - set(new)

    def rest(jobs: Mapping[str, Iterable[Account]]) -> float:
        """Return what the plan has for some trainings beyond what their jobs took or may take."""
        return sum(
            max(0.0, steps[key].node_hours - _promised(accounts) - asked.get(key, 0.0))
            for key, accounts in jobs.items()
        )

    return ToCome(asking=rest(dict.fromkeys(new, ())), others=rest(ledger.of_tasks(live)))


def _promised(accounts: Iterable[Account]) -> float:
    """Return the node-hours that jobs were charged, or may be yet."""
    return sum(each.charged_node_hours + each.reserved_node_hours for each in accounts)
