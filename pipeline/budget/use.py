"""What charged node-hours went into: steps that counted, and what was lost, by its cause."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.budget.account import Account
from pipeline.pace import links
from pipeline.run import Run
from pipeline.site import Site

STEPS, SAVES, START_UP = "steps that count", "checkpoints", "start-up and end"
TASKS, IDLE = "tasks in pilots", "idle in pilots"
WAITS = "waits for its bundle"
USEFUL = (STEPS, TASKS)


@dataclass(frozen=True)
class Use:
    """What `node_hours` of a site went into, and their share of all that it charged."""

    into: str
    node_hours: float
    share: float


def uses(accounts: Sequence[Account], run: Run, workers: Mapping[str, int]) -> list[Use]:
    """Return what the charged jobs went into: useful work first, then the most.

    A step counts if a checkpoint holds it: of a link that was killed, what came after its last save
    is lost, and is charged again where the next one does it.

    Args:
        accounts: The jobs of one site.
        run: The run folder, where each link of a training recorded its life.
        workers: How many tasks share a node, by the kind of pilots.
    """
    hours: Counter[str] = Counter()
    for account in accounts:
        if account.charged_node_hours and account.stage not in workers:
            hours.update(_of_training(account, run))
    for kind, count in workers.items():
        hours.update(_of_pilots(accounts, kind, count))
    total = sum(hours.values())
    order = sorted(hours, key=lambda into: (into not in USEFUL, -hours[into]))
    return [Use(into, hours[into], hours[into] / total) for into in order]


def workers_of(site: Site) -> dict[str, int]:
    """Return how many tasks share a node of a site, by the kind of pilots."""
    pilots = {"pilot": site.pilot, "pack": site.packs or site.pilot}
    return {kind: each.workers_per_node for kind, each in pilots.items()}


def _of_training(account: Account, run: Run) -> dict[str, float]:
    """Return the node-hours of one job of a training by what they went into."""
    records = [each for each in links(run.task(account.task)) if each["key"] == account.job_key]
    seconds = _seconds(account, records)
    total = sum(seconds.values())
    return {into: account.charged_node_hours * each / total for into, each in seconds.items()}


def _seconds(account: Account, records: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Return the seconds of a job; each attempt of one that was put back into the queue counts."""
    seconds: Counter[str] = Counter()
    for each in records:
        ended = each["ended"] or each["last_step"]
        seconds[SAVES] += each["saving_seconds"]
        seconds[STEPS] += max(0.0, each["last_step"] - each["first_step"] - each["saving_seconds"])
        seconds[START_UP] += each["first_step"] - each["began"] + ended - each["last_step"]
    rest = max(0.0, account.seconds - sum(seconds.values()))
    seconds.update(_rest(account, records, rest))
    return seconds


def _rest(
    account: Account, records: Sequence[Mapping[str, Any]], seconds: float
) -> dict[str, float]:
    """Return the seconds of a job that no record of a link explains, by their cause."""
    if not records:
        return {f"without a step: {account.state}": seconds or 1.0}
    if not all(each["outcome"] for each in records):
        return {f"lost: {account.state}": seconds}
    return {WAITS if account.batch_key else START_UP: seconds} if seconds else {}


def _of_pilots(accounts: Sequence[Account], kind: str, workers: int) -> dict[str, float]:
    """Return the node-hours of one kind of pilots: of tasks in them, and the rest.

    What a task took before the end of its pilot interrupted it is in the rest.
    """
    jobs = [each for each in accounts if each.stage == kind]
    charged = sum(each.charged_node_hours for each in jobs)
    held = sum(each.nodes * each.seconds for each in jobs)
    if not charged or not held:
        return {}
    tasks = sum(each.seconds for each in accounts if not each.job_id and each.batch_key == kind)
    used = min(1.0, tasks / workers / held) * charged
    return {TASKS: used, IDLE: charged - used}
