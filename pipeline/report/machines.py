"""One campaign that ran on several machines: each task once, with where it ran.

Of a task that is finished in several runs the one is taken whose ledger has jobs of it, and of
several such the one that is named first; where their results differ, a note says how.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.budget.account import Account
from pipeline.budget.ledger import Ledger, LedgerError
from pipeline.campaign import Campaign, stored
from pipeline.campaign.identity import differences
from pipeline.catalog import DeclarationError
from pipeline.report.reader import Reader
from pipeline.report.tasks import TaskView, view_tasks
from pipeline.run import Run
from pipeline.site import Site

BEST_FIRST = ("done", "running", "queued", "begun", "failed", "waiting")
AT_WORK = ("running", "queued")
NUMBERS = ("weights_sha256", "store_sha256", "loss", "losses", "scores")


@dataclass(frozen=True)
class Machine:
    """A run folder of the campaign, and the name of its site; `label` tells two of one apart."""

    run: Run
    site: str
    label: str


@dataclass(frozen=True)
class Together:
    """The tasks of all machines, each once; their jobs by machine, each once; and notes."""

    machines: Sequence[Machine]
    tasks: list[TaskView]
    accounts_of: Mapping[str, list[Account]]
    notes: list[str]

    @property
    def accounts(self) -> list[Account]:
        """The jobs of all machines."""
        return [each for accounts in self.accounts_of.values() for each in accounts]


def labelled(runs: Sequence[tuple[Run, Site]]) -> list[Machine]:
    """Return the machines of some runs: labelled by site, and by folder where a site has two."""
    sites = [site.name for _, site in runs]
    return [
        Machine(run, name, name if sites.count(name) == 1 else f"{name}, {run.path}")
        for (run, _), name in zip(runs, sites, strict=True)
    ]


def gather(machines: Sequence[Machine], campaign: Campaign, reader: Reader) -> Together:
    """Return what the runs of one campaign hold together."""
    notes: list[str] = []
    accounts_of = _accounts(machines, reader, notes)
    found: dict[str, list[tuple[Machine, TaskView]]] = {}
    for machine in machines:
        several = len(machines) > 1
        accounts = accounts_of[machine.label]
        for view in view_tasks(machine.run, campaign, reader, accounts, optional=several):
            where = _sites(view.key, machine, accounts)
            found.setdefault(view.key, []).append((machine, replace(view, ran_at=where)))
    tasks = [_taken(views, notes) for views in found.values()]
    if len(machines) > 1:
        notes += [note for machine in machines for note in _unknown(machine, found)]
    return Together(machines, tasks, accounts_of, notes)


def _accounts(
    machines: Sequence[Machine], reader: Reader, notes: list[str]
) -> dict[str, list[Account]]:
    """Return the jobs of each ledger; one that an earlier ledger has is a copy, and left out."""
    seen: set[tuple[str, str]] = set()
    found: dict[str, list[Account]] = {}
    for machine in machines:
        try:
            accounts = list(Ledger(machine.run.ledger).accounts().values())
        except LedgerError as error:
            reader.problems.append(str(error))
            accounts = []
        new = [each for each in accounts if (each.site, each.job_key) not in seen]
        if len(new) < len(accounts):
            copies = len(accounts) - len(new)
            notes.append(
                f"{copies:,} job(s) in the ledger of {machine.run.path} are in one named before "
                "it: it is a copy. They are counted once."
            )
        seen |= {(each.site, each.job_key) for each in new}
        found[machine.label] = new
    return found


def _sites(key: str, machine: Machine, accounts: Sequence[Account]) -> str:
    """Return where the jobs of a task ran, empty if the ledger has none."""
    sites = dict.fromkeys(each.site for each in accounts if each.task == key)
    return ", ".join(machine.label if site == machine.site else site for site in sites)


def _taken(views: Sequence[tuple[Machine, TaskView]], notes: list[str]) -> TaskView:
    """Return the view of a task that is taken, and note what the others are."""

    def rank(pair: tuple[Machine, TaskView]) -> tuple[int, bool]:
        """Return a key that sorts the best state first, and of equals what its ledger has."""
        return BEST_FIRST.index(pair[1].state), not pair[1].ran_at

    machine, view = min(views, key=rank)  # of equals the first
    for other, each in views:
        if other is machine or view.state != "done":
            continue
        if each.state == "done":
            notes += _differing(view, machine, each, other)
        elif each.state in AT_WORK:
            notes.append(
                f"{view.key} is {each.state} at {other.label}, and finished at {machine.label}, "
                "whose result is taken."
            )
    return view


def _differing(
    view: TaskView, machine: Machine, other: TaskView, elsewhere: Machine
) -> Iterator[str]:
    """Yield a note on two finished tasks of one key, unless one is a copy of the other."""
    words = [*_numbers(view, other), *_declared(view, machine, other, elsewhere)]
    if words:
        has_jobs = bool(view.ran_at) and not other.ran_at
        why = "whose ledger has its jobs" if has_jobs else "which is named first"
        yield (
            f"{view.key} is finished at {machine.label} and at {elsewhere.label}. That of "
            f"{machine.label} is taken, {why}. They differ: {'; '.join(words)}."
        )


def _numbers(view: TaskView, other: TaskView) -> Iterator[str]:
    """Yield which numbers of two results differ."""
    one, two = (each.result.model_dump() if each.result else {} for each in (view, other))
    for name in NUMBERS:
        mine, theirs = one.get(name), two.get(name)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            for key in mine:
                if not _same(mine[key], theirs.get(key)):
                    yield f"{key} {_shown(mine[key])} and {_shown(theirs.get(key))}"
        elif not _same(mine, theirs):
            yield f"{name} {_shown(mine)} and {_shown(theirs)}"


def _same(one: Any, two: Any) -> bool:
    return bool(one == two or (one != one and two != two))  # noqa: PLR0124 - NaN is not itself


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value[:8]}…" if isinstance(value, str) and len(value) > 16 else str(value)


def _declared(
    view: TaskView, machine: Machine, other: TaskView, elsewhere: Machine
) -> Iterator[str]:
    """Yield the keys that decide the product and are declared differently."""
    here, there = str(machine.run.path.absolute()), str(elsewhere.run.path.absolute())
    try:
        found = differences(stored.read_any(view.folder), stored.read_any(other.folder))
    except DeclarationError:
        return
    for each in found:
        if str(each.now).replace(there, here) != str(each.before):
            yield str(each)


def _unknown(machine: Machine, known: Mapping[str, object]) -> Iterator[str]:
    """Yield a note on the finished tasks of a run that the campaign does not have."""
    paths = machine.run.of_campaign("DONE")
    more = [key for path in paths if (key := "/".join(path.parts[-3:-1])) not in known]
    if more:
        yield (
            f"{len(more):,} finished task(s) of {machine.run.path} are not in this campaign, the "
            f"first {more[0]}: not shown. The campaign is that of the first run."
        )
