"""The forecast of a campaign's cost and end, from rehearsals of the rest.

The assumptions about a site are a prior. The campaign's own trainings, waits and failures update
it; each rehearsal draws its rates from the posterior.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, median

from pipeline.budget.account import Account
from pipeline.budget.cost import node_hours
from pipeline.budget.forecast import SHARE, Interval
from pipeline.budget.forecast import Forecast as KeptForecast
from pipeline.campaign import CHAINED
from pipeline.job import State
from pipeline.planning.plan import Plan, Step
from pipeline.rehearsal.links import MAX_SAVE_INTERVAL, SAVE_SECONDS, start_up_minutes
from pipeline.rehearsal.machine import DAY, HOUR, WAIT_SIGMA
from pipeline.rehearsal.rehearse import rehearse, work_minutes
from pipeline.rehearsal.snapshot import Rates, Snapshot

# How far off the assumptions may be, before anything was measured: guesses.
WORK_SIGMA, WAITS_SIGMA = 0.25, 0.5  # of the logarithms of the factors
FAILURES = 2.0  # the shape of the gamma distribution of the factor, whose mean is 1
TRAINING_SIGMA = 0.1  # of the logarithm of what one training takes against the others
CONFIDENCE = 0.8  # that an interval holds what it says
GRID = 60  # steps to either side, over which the factor of waits is looked for
TINY = 1e-300
LEAST_SHARE = 0.05  # of a training, before its pace says anything


@dataclass(frozen=True)
class RehearsedForecast(KeptForecast):
    """The node-hours of the whole campaign, the days to its end, and the rates they rest on."""

    rates: Rates


def forecast(plan: Plan, snapshot: Snapshot, *, samples: int, seed: int = 1) -> RehearsedForecast:
    """Return what the campaign of `plan` comes to, from what a `snapshot` of it shows.

    Args:
        plan: The whole campaign.
        snapshot: What is done, what runs, and the jobs so far.
        samples: How many rehearsals of the rest are made.
        seed: Of the dice.
    """
    dice = random.Random(seed)  # noqa: S311 - dice
    spent = sum(each.charged_node_hours for each in so_far(plan, snapshot))
    known = _Measured(plan, snapshot)
    free = replace(plan, options=replace(plan.options, cap_node_hours=None))
    rests = [
        rehearse(free, dice.getrandbits(32), rates=known.draw(dice), start=snapshot.start)
        for _ in range(samples)
    ]
    return RehearsedForecast(
        site=plan.site.name,
        now=snapshot.now,
        node_hours=_interval([spent + rest.node_hours for rest in rests]),
        days=_interval([rest.hours / 24 for rest in rests]),
        spent_node_hours=spent,
        rates=known.middle,
    )


class _Measured:
    """What the campaign's own jobs say of the rates, beside what was assumed before."""

    def __init__(self, plan: Plan, snapshot: Snapshot) -> None:
        self.work = _normal(_paces(plan, snapshot), TRAINING_SIGMA, WORK_SIGMA)
        self.waits = _factors(_waits(plan, snapshot))
        failed = sum(each.state == State.NODE_FAIL for each in snapshot.accounts)
        node_days = sum(_node_seconds(each, snapshot.now) for each in snapshot.accounts) / DAY
        expected = node_days * plan.site.node_failures / 1000
        self.failures = (FAILURES + failed, FAILURES + expected)

    @property
    def middle(self) -> Rates:
        """The rates in the middle of what is left open."""
        shape, rate = self.failures
        waits = sum(factor * weight for factor, weight in self.waits.items())
        return Rates(math.exp(self.work[0]), math.exp(waits), shape / rate)

    def draw(self, dice: random.Random) -> Rates:
        """Return rates that may be the true ones."""
        shape, rate = self.failures
        return Rates(
            work=dice.lognormvariate(*self.work),
            waits=math.exp(*dice.choices(list(self.waits), list(self.waits.values()))),
            failures=dice.gammavariate(shape, 1 / rate),
        )


def _normal(logs: Sequence[float], sigma: float, before: float) -> tuple[float, float]:
    """Return mean and deviation of the logarithm of a factor, given values that scatter by `sigma`.

    `before` is its deviation from nothing before any value is known (the conjugate normal).
    """
    precision = 1 / before**2 + len(logs) / sigma**2
    return sum(logs) / sigma**2 / precision, 1 / math.sqrt(precision)


def _paces(plan: Plan, snapshot: Snapshot) -> list[float]:
    """Return the logarithm of what each training takes, over what it is assumed to take."""
    jobs: dict[str, list[Account]] = {}
    for each in snapshot.accounts:
        if each.start is not None:
            jobs.setdefault(each.task, []).append(each)
    found = []
    for step in plan.steps:
        share = snapshot.shares.get(step.task.key, 0.0)
        if step.in_pilot or share < LEAST_SHARE or step.task.key not in jobs:
            continue
        took = _work_seconds(step, jobs[step.task.key], plan, snapshot.now)
        declared = step.task.training.walltime_minutes if isinstance(step.task, CHAINED) else 0
        assumed = 60 * work_minutes(plan.site, declared) * share
        if took > 0:
            found.append(math.log(took / assumed))
    return found


def _work_seconds(step: Step, jobs: Sequence[Account], plan: Plan, now: float) -> float:
    """Return how long the jobs of a training took steps: without starting up, and saving."""
    begin = 60 * start_up_minutes(plan.site, step.link_minutes)
    ran = sum(max(0.0, (each.end or now) - (each.start or now) - begin) for each in jobs)
    return ran * MAX_SAVE_INTERVAL / (MAX_SAVE_INTERVAL + SAVE_SECONDS)


def _waits(plan: Plan, snapshot: Snapshot) -> list[tuple[float, bool]]:
    """Return the logarithm of each job's wait, over the mean of such jobs, and whether it is over.

    A job that waits for another one's end waits in the queue from then on. Where the site lets only
    some of a user's jobs wait in earnest, the others' time says nothing of its queue.
    """
    if plan.site.eligible_jobs is not None:
        return []
    found = []
    for each in snapshot.accounts:
        queued_at = snapshot.queued_at(each)
        role = plan.role(each.stage, each.qos)
        mean = plan.site.mean_wait_hours(each.nodes, role.qos) * HOUR
        if queued_at is None or each.batch_key or not mean or (each.end and not each.start):
            continue
        waited = (each.start or snapshot.now) - queued_at
        if waited > 0:
            found.append((math.log(waited / mean), each.start is not None))
    return found


def _factors(waits: Sequence[tuple[float, bool]]) -> dict[float, float]:
    """Return how likely each logarithm of the factor of all waits is, given those that were seen.

    Before any was seen it is normal, of deviation `WAITS_SIGMA`. A wait is log-normal about its
    mean, of deviation `WAIT_SIGMA`; one that is not over yet was at least so long, and to leave it
    out would make queues look quicker than they are.
    """
    steps = range(-GRID, GRID + 1)
    logs = [4 * WAITS_SIGMA * step / GRID for step in steps]
    single = NormalDist(-(WAIT_SIGMA**2) / 2, WAIT_SIGMA)
    likely = []
    for factor in logs:
        total = math.log(NormalDist(0, WAITS_SIGMA).pdf(factor))
        for wait, is_over in waits:
            left = wait - factor
            total += math.log(max(single.pdf(left) if is_over else 1 - single.cdf(left), TINY))
        likely.append(total)
    weights = [math.exp(each - max(likely)) for each in likely]
    return {factor: each / sum(weights) for factor, each in zip(logs, weights, strict=True)}


def so_far(plan: Plan, snapshot: Snapshot) -> list[Account]:
    """Return the accounts; jobs that run have come to what they would if they ended now."""
    found = []
    for each in snapshot.accounts:
        if each.end is not None or each.start is None:
            found.append(each)
            continue
        role = plan.role(each.stage, each.qos)
        seconds = snapshot.now - each.start
        charged = node_hours(plan.site, role, nodes=each.nodes, seconds=seconds)
        found.append(replace(each, charged_node_hours=charged, end=snapshot.now))
    return found


def _node_seconds(account: Account, now: float) -> float:
    """Return for how long a job held how many nodes."""
    if account.end is None and account.start is not None:
        return account.nodes * (now - account.start)
    return account.nodes * account.seconds


def _interval(values: Sequence[float]) -> Interval:
    """Return the middle of the outcomes, and bounds between which `SHARE` per cent of all lie.

    As few outcomes are left out on each side as it takes for that to be so with a confidence of
    `CONFIDENCE`, whatever their distribution (Wilks, Annals of Mathematical Statistics 12, 1941,
    p. 91): that `count` outcomes are fewer than those between two of them is binomial.
    """
    ordered, count, share = sorted(values), len(values), SHARE / 100
    beyond = [math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(count + 1)]
    left_out = 1
    while sum(beyond[: count - 2 * (left_out + 1) + 1]) >= CONFIDENCE:
        left_out += 1
    return Interval(ordered[left_out - 1], median(ordered), ordered[-left_out])
