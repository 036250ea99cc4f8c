"""What charged node-hours were used for: steps that counted, and losses by their cause."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.budget.account import Account
from pipeline.outcome import of_state
from pipeline.pace import links
from pipeline.records import LinkRecord
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
    records = [each for each in links(run.task(account.task)) if each.key == account.job_key]
    seconds = _seconds(account, records)
    total = sum(seconds.values())
    return {into: account.charged_node_hours * each / total for into, each in seconds.items()}


def _seconds(account: Account, records: Sequence[LinkRecord]) -> dict[str, float]:
    """Return the seconds of a job by use; each attempt of one that was put back counts."""
    seconds = {
        STEPS: sum(each.step_seconds for each in records),
        SAVES: sum(each.saving_seconds for each in records),
        START_UP: sum(each.start_up_seconds + each.end - each.last for each in records),
    }
    rest = max(0.0, account.seconds - sum(seconds.values()))
    for cause, lost in _rest(account, records, rest).items():
        seconds[cause] = seconds.get(cause, 0.0) + lost
    return {use: each for use, each in seconds.items() if each}


def _rest(account: Account, records: Sequence[LinkRecord], seconds: float) -> dict[str, float]:
    """Return the seconds of a job that no record of a link explains, by cause."""
    if not records:
        return {f"without a step: {_cause(account.state)}": seconds or 1.0}
    if not all(each.outcome for each in records):
        return {f"lost: {_cause(account.state)}": seconds}
    return {WAITS if account.batch_key else START_UP: seconds} if seconds else {}


def _cause(state: str) -> str:
    """Return what node-hours are lost to in a job of this state."""
    row = of_state(state)
    return row.lost_to if row is not None else state


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
