"""A campaign at one moment, and factors by which a site and its trainings differ from assumed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pipeline.budget.account import Account
from pipeline.planning.plan import PACK, PILOT
from pipeline.site import Site, Wait


@dataclass(frozen=True)
class Rates:
    """Factors on the assumed work time of trainings, waits in the queue, and node failures."""

    work: float = 1.0
    waits: float = 1.0
    failures: float = 1.0

    def of(self, site: Site) -> Site:
        """Return `site` with its waits and failures multiplied by these factors."""
        queues = {
            name: queue.model_copy(update={"waits": self._scaled(queue.waits)})
            for name, queue in site.qos.items()
        }
        failures = site.node_failures * self.failures
        changes = {"waits": self._scaled(site.waits), "qos": queues, "node_failures": failures}
        return site.model_copy(update=changes)

    def _scaled(self, waits: Sequence[Wait]) -> tuple[Wait, ...]:
        return tuple(
            each.model_copy(update={"mean_hours": each.mean_hours * self.waits}) for each in waits
        )


@dataclass(frozen=True)
class StartState:
    """The state that a rehearsal starts from: the done share of each task, and the live jobs.

    `shares` is from 0 to 1. `running` names the trainings with a running job, `waited` gives the
    seconds for which the job of each other training has waited. `pilots` has a list for each kind
    of pilot: None for each running one, then the seconds that each other has waited.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    running: frozenset[str] = frozenset()
    waited: Mapping[str, float] = field(default_factory=dict)
    pilots: Mapping[str, Sequence[float | None]] = field(default_factory=dict)

    def share(self, key: str) -> float:
        """Return the share of a task that is done."""
        return self.shares.get(key, 0.0)


@dataclass(frozen=True)
class Snapshot:
    """What an observer sees of a campaign at one moment, `now` in seconds since 1970.

    `shares` is the done share of each task, `submitted` the time of submission of each job by key.
    """

    now: float
    shares: Mapping[str, float]
    accounts: Sequence[Account]
    submitted: Mapping[str, float]

    @property
    def start(self) -> StartState:
        """The start state of a rehearsal of the rest."""
        live = [each for each in self.accounts if each.end is None and self.queued_at(each)]
        trainings = [each for each in live if each.stage not in (PILOT, PACK)]
        running = frozenset(each.task for each in trainings if each.start is not None)
        waited = {each.task: self._waited(each) for each in trainings if each.task not in running}
        pilots = {kind: self._pilots(live, kind) for kind in (PILOT, PACK)}
        return StartState(self.shares, running, waited, pilots)

    def _waited(self, account: Account) -> float:
        """Return for how many seconds a job has gained priority in the queue."""
        return self.now - (self.queued_at(account) or self.now)

    def _pilots(self, live: Sequence[Account], kind: str) -> list[float | None]:
        """Return None for each running pilot of `kind`, then the wait of each other in seconds."""
        jobs = [each for each in live if each.stage == kind]
        waiting = sorted((self._waited(each) for each in jobs if each.start is None), reverse=True)
        return [None] * sum(each.start is not None for each in jobs) + list(waiting)

    def queued_at(self, account: Account) -> float | None:
        """Return when the wait of a job in the queue began; None if it was never submitted.

        A job that depends on the end of the link before gains no priority until then.
        """
        submitted = self.submitted.get(account.job_key)
        if submitted is None:
            return None
        until = account.start or self.now
        return max([submitted, *(end for end in self._ends.get(account.task, ()) if end <= until)])

    @cached_property
    def _ends(self) -> dict[str, list[float]]:
        """When the jobs of each task ended."""
        found: dict[str, list[float]] = {}
        for each in self.accounts:
            if each.end is not None and each.start is not None:
                found.setdefault(each.task, []).append(each.end)
        return found
