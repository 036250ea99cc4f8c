"""Where a campaign stands, and in what a site and its trainings differ from what was assumed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pipeline.budget.account import Account
from pipeline.planning.plan import PACK, PILOT
from pipeline.site import Site, Wait


@dataclass(frozen=True)
class Rates:
    """Factors of what is assumed: of the time that trainings take, of waits, and of failures."""

    work: float = 1.0
    waits: float = 1.0
    failures: float = 1.0

    def of(self, site: Site) -> Site:
        """Return `site` with the waits and the failures that these factors make of its own."""
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
    """How much of each task is done, from 0 to 1, and how its jobs stand.

    `running` are the trainings of which a job runs; `waited` is for how many seconds the job of
    others has waited in the queue. `pilots` has both of each kind of pilots: None for one that
    runs, those first, else the seconds that it has waited.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    running: frozenset[str] = frozenset()
    waited: Mapping[str, float] = field(default_factory=dict)
    pilots: Mapping[str, Sequence[float | None]] = field(default_factory=dict)

    def share(self, key: str) -> float:
        """Return how much of a task is done."""
        return self.shares.get(key, 0.0)


@dataclass(frozen=True)
class Snapshot:
    """What anybody can see of a campaign at one moment, `now` in seconds since 1970.

    `shares` is how much of each task is done; `submitted` is when each job of the ledger was, by
    its key.
    """

    now: float
    shares: Mapping[str, float]
    accounts: Sequence[Account]
    submitted: Mapping[str, float]

    @property
    def start(self) -> StartState:
        """How the tasks and their jobs stand."""
        live = [each for each in self.accounts if each.end is None and self.asked(each) is not None]
        own = [each for each in live if each.stage not in (PILOT, PACK)]
        running = frozenset(each.task for each in own if each.start is not None)
        waited = {each.task: self._waited(each) for each in own if each.task not in running}
        pilots = {
            kind: self._pilots([each for each in live if each.stage == kind])
            for kind in (PILOT, PACK)
        }
        return StartState(self.shares, running, waited, pilots)

    def _waited(self, account: Account) -> float:
        """Return for how many seconds a job has waited in earnest."""
        return self.now - (self.asked(account) or self.now)

    def _pilots(self, live: Sequence[Account]) -> list[float | None]:
        """Return None for each that runs, then for how long each of the others has waited."""
        waiting = sorted((self._waited(each) for each in live if each.start is None), reverse=True)
        return [None] * sum(each.start is not None for each in live) + list(waiting)

    def asked(self, account: Account) -> float | None:
        """Return since when a job waits, or waited, in earnest; None if it was never submitted.

        One that waits for the end of the link before it gains nothing until then.
        """
        asked = self.submitted.get(account.job_key)
        if asked is None:
            return None
        until = account.start or self.now
        return max([asked, *(end for end in self._ends.get(account.task, ()) if end <= until)])

    @cached_property
    def _ends(self) -> dict[str, list[float]]:
        """When the jobs of each task ended."""
        found: dict[str, list[float]] = {}
        for each in self.accounts:
            if each.end is not None and each.start is not None:
                found.setdefault(each.task, []).append(each.end)
        return found
