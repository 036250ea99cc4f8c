"""A part of a campaign, for one of several machines: stages, models, downstream tasks or cells."""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pipeline.campaign import Campaign, Task
from pipeline.catalog import DeclarationError
from pipeline.planning import changes
from pipeline.planning.changes import Change
from pipeline.run import Run

SEED = re.compile(r"-s\d+$")


@dataclass(frozen=True)
class Part:
    """The part of a campaign that a machine runs: its tasks, and what the campaign means for them.

    `every_task` are those of the whole campaign; `changes` also has what was made of those tasks of
    the part whose products are replaced.
    """

    every_task: Sequence[Task]
    tasks: Sequence[Task]
    changes: Mapping[str, Change]

    @property
    def to_do(self) -> list[Task]:
        """The tasks whose product is not complete, or is not what they ask for now."""
        return [each for each in self.tasks if self.changes[each.key].meaning in changes.TO_DO]

    @property
    def affected(self) -> list[Task]:
        """The tasks that are declared as they are now."""
        return [each for each in self.every_task if each.key in self.changes]

    def renewed(self, run: Run) -> "Part":
        """Return the part as it is now in `run`."""
        return _part(self.every_task, {each.key for each in self.tasks}, run)


def part(
    campaign: Campaign, run: Run, only: Sequence[str] = (), *, elsewhere: bool = False
) -> Part:
    """Return the part of `campaign` that `only` names, all of it if it is empty.

    Of a part, datasets of other machines need no sources here; `elsewhere` as in `Campaign.tasks`.

    Raises:
        DeclarationError: There is no such part; or the sources of a dataset are not there.
    """
    tasks = campaign.tasks(run, elsewhere=elsewhere, optional=bool(only))
    return _part(tasks, chosen(tasks, campaign, only), run)


def _part(tasks: Sequence[Task], keys: Collection[str], run: Run) -> Part:
    meant = restricted(changes.compare(tasks, run, keys), tasks, keys)
    return Part(tasks, [each for each in tasks if each.key in keys], meant)


def chosen(tasks: Sequence[Task], campaign: Campaign, only: Sequence[str]) -> frozenset[str]:
    """Return the keys of the tasks that `only` names, all if it is empty, and of those they need.

    A name is that of a stage, a model, a probe, a fine-tuning, a task, or a cell (a task without
    its seed), or a pattern of tasks' keys with `*`.

    Raises:
        DeclarationError: A name is none of these; the message says what is near.
    """
    if not only:
        return frozenset(task.key for task in tasks)
    return with_needs(named(tasks, campaign, only), tasks)


def named(tasks: Sequence[Task], campaign: Campaign, only: Sequence[str]) -> frozenset[str]:
    """Return the keys of the tasks that `only` names, without those they need.

    Raises:
        DeclarationError: A name is none, as in `chosen`.
    """
    return frozenset(key for name in only for key in _named(name, tasks, campaign))


def with_needs(keys: Collection[str], tasks: Sequence[Task]) -> frozenset[str]:
    """Return `keys`, and the keys of all that these tasks need."""
    found = set(keys)
    for task in reversed(tasks):  # each before those it needs
        if task.key in found:
            found |= {*task.needs}
    return frozenset(found)


def _named(name: str, tasks: Sequence[Task], campaign: Campaign) -> list[str]:
    """Return the keys of the tasks that `name` names.

    Raises:
        DeclarationError: It names none.
    """
    found = [task.key for task in tasks if name in _names(task, campaign)]
    found = found or [task.key for task in tasks if fnmatchcase(task.key, name)]
    if not found:
        known = list(dict.fromkeys(each for task in tasks for each in _names(task, campaign)))
        near = difflib.get_close_matches(name, known, 3)
        words = [each for each in known if "/" not in each]
        advice = f"Did you mean {', '.join(near)}?" if near else f"There are: {', '.join(words)}."
        message = f"--only {name}: no stage, model, task or cell of {campaign.name}. {advice}"
        raise DeclarationError(message)
    return found


def _names(task: Task, campaign: Campaign) -> Iterator[str]:
    """Yield what a task can be named by."""
    yield from (task.stage, task.key, SEED.sub("", task.key))
    name = task.key.partition("/")[2]
    yield from _longest(name, campaign.models)
    sections = [*campaign.probe, *campaign.finetune]
    yield from _longest(name, [each for each in sections if name.startswith(f"{each}-")])


def _longest(name: str, declared: Collection[str]) -> list[str]:
    """Return the longest of the names `declared` that stands in `name`, none if none does."""
    return sorted((each for each in declared if f"-{each}-" in f"-{name}-"), key=len)[-1:]


def restricted(
    found: Mapping[str, Change], tasks: Sequence[Task], keys: Collection[str]
) -> dict[str, Change]:
    """Return what a changed campaign means for the tasks `keys`, and for what was made of them.

    What was made of one whose product is replaced is out of date, and moved aside with it. All
    changes, if `keys` are those of all tasks.
    """
    if len(keys) == len(tasks):
        return dict(found)
    outdated: set[str] = set()
    for task in tasks:  # each after those it needs
        change = found[task.key]
        is_made_of = change.meaning == "made again" and outdated.intersection(task.needs)
        if (task.key in keys and change.replaces) or is_made_of:
            outdated.add(task.key)
    return {key: each for key, each in found.items() if key in keys or key in outdated}
