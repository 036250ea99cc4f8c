"""The remaining cost of trainings that have begun: a new training must leave room for it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from pipeline import records
from pipeline.budget.account import Account
from pipeline.budget.guard import RemainingCost
from pipeline.budget.ledger import Ledger
from pipeline.job import number_of
from pipeline.planning.plan import Plan
from pipeline.records import Beginning


def remaining(plan: Plan, ledger: Ledger, requested: Mapping[str, float]) -> RemainingCost:
    """Return the node-hours that the guard keeps free before some tasks may submit a job.

    Zero if all those tasks have begun: a chain continues as long as its next job fits under the
    cap, so two chains never wait for each other. A chain that has not begun must fit completely,
    beside the remaining cost of all trainings that have a job in the queue.

    Args:
        plan: Gives the cost of each training.
        ledger: Records which trainings have begun.
        requested: The node-hours that the job requests, by the task that shares it.
    """
    known = _of_products(plan, ledger.of_tasks(requested)).items()
    # A refused submission has no job id.
    not_begun = [key for key, jobs in known if not any(each.job_id for each in jobs)]
    if not not_begun:
        return RemainingCost()
    steps = {step.task.key: step for step in plan.steps if not step.in_pilot}
    new = [key for key in not_begun if key in steps]  # no room is kept for pilots
    if not new:
        return RemainingCost()
    live = {each.task for each in ledger.unended(plan.site.name)} & steps.keys() - set(new)

    def rest(jobs: Mapping[str, Iterable[Account]]) -> float:
        """Return the planned node-hours beyond those charged or reserved, over some trainings."""
        return sum(
            max(0.0, steps[key].node_hours - _had(accounts) - requested.get(key, 0.0))
            for key, accounts in jobs.items()
        )

    others = _of_products(plan, ledger.of_tasks(live))
    return RemainingCost(current=rest(dict.fromkeys(new, ())), others=rest(others))


def _of_products(plan: Plan, accounts: Mapping[str, Iterable[Account]]) -> dict[str, list[Account]]:
    """Return the jobs of each task without those that worked for what was replaced since."""
    found = {}
    for key, jobs in accounts.items():
        begun = records.read(plan.run.task(key).beginning, Beginning) or Beginning()
        found[key] = [each for each in jobs if number_of(each.job_key) > begun.last_job]
    return found


def committed_by(plan: Plan, finished: Collection[str]) -> float:
    """Return the most that a plan may cost beyond what the jobs of its tasks have.

    Pilots are shared: what those in the queue or running have reserved is theirs.

    Args:
        plan: Of the whole campaign, or of what was left of it.
        finished: The keys of tasks that need no more.
    """
    by_task: dict[str, list[Account]] = {}
    for each in Ledger(plan.run.ledger).accounts().values():
        if each.site == plan.site.name:
            by_task.setdefault(each.task, []).append(each)
    left = [step for step in plan.steps if step.task.key not in finished]
    chains = sum(
        max(0.0, step.node_hours - _had(by_task.get(step.task.key, ())))
        for step in left
        if not step.in_pilot
    )
    rest = replace(plan, steps=left)
    pilots = 0.0
    for kind in rest.kinds:
        reserved = sum(each.reserved_node_hours for each in by_task.get(kind, ()))
        pilots += max(0.0, rest.node_hours_of(kind) - reserved)
    return chains + pilots


def _had(accounts: Iterable[Account]) -> float:
    """Return the node-hours that jobs were charged, or have reserved."""
    return sum(each.charged_node_hours + each.reserved_node_hours for each in accounts)
