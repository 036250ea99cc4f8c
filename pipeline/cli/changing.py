"""What a changed campaign means for its run, as `plan` and `run` show it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.cli.screen import as_hours

if TYPE_CHECKING:
    from pipeline.planning.changes import Change
    from pipeline.planning.plan import Step

MOST_LINES = 20
CHANGED = "The campaign was changed since its run began."
LOST = "Some of what its run made is not on the disk."
TRAININGS = ("tokenize/", "pretrain/", "finetune/")


def lines(
    changes: "Mapping[str, Change]", steps: "Iterable[Step]", *, most: int = MOST_LINES
) -> list[str]:
    """Return what the campaign as it is now means for its run: a line per task that is affected.

    Nothing where every task is new, or nothing differs. At most `most` of those that are affected
    themselves; what is made of them is counted.
    """
    shown = [each for each in changes.values() if _is_shown(each)]
    if not shown:
        return []
    hours = {step.task.key: step.node_hours for step in steps}
    following = [each for each in shown if each.since]
    changed = any(not each.is_lost for each in shown)
    return [
        f"{CHANGED if changed else LOST} Tasks: {_counted(changes.values())}.",
        *_direct([each for each in shown if each not in following], hours, most),
        *_following(following),
        *_price(shown, hours),
        *_price_of_recreated(shown, hours),
    ]


def asks(changes: "Mapping[str, Change]") -> bool:
    """Return whether tasks are made again, or trainings done once more: it takes a yes."""
    again = [each for each in changes.values() if each.meaning in ("made again", "recreated")]
    return any(each.meaning == "made again" or each.key.startswith(TRAININGS) for each in again)


def _following(changes: "Sequence[Change]") -> list[str]:
    """Return a line on the tasks that are made again since they are made of others."""
    return [f"  made again      {_some(changes)}, made of these"] if changes else []


def _counted(changes: "Iterable[Change]") -> str:
    """Return how many tasks have each meaning."""
    counts = sorted(Counter(each.meaning for each in changes).items())
    return ", ".join(f"{count} {meaning}" for meaning, count in counts)


def _direct(changes: "Sequence[Change]", hours: Mapping[str, float], most: int) -> list[str]:
    """Return a line for each of the tasks that are affected themselves, at most `most`."""
    shown = [f"  {_line(each, hours)}" for each in changes[:most]]
    more = len(changes) - len(shown)
    return [*shown, f"  and {more} more (--json has all)"] if more else shown


def _price(shown: "Sequence[Change]", hours: Mapping[str, float]) -> list[str]:
    """Return what it costs to replace products, and where they are kept; nothing for none."""
    again = [each for each in shown if each.meaning == "made again"]
    longer = [each for each in shown if each.goes_on_changed]
    if not again and not longer:
        return []
    most = as_hours(sum(hours.get(each.key, 0.0) for each in (*again, *longer)))
    counted = [f"{len(again)} made again"] * bool(again)
    counted += [f"the rest of {len(longer)} that go on"] * bool(longer)
    line = f"At most {most} node-hours in jobs of their own for {' and '.join(counted)}."
    return [f"  {line} What they made is kept in replaced/ of the run folder."]


def _price_of_recreated(shown: "Sequence[Change]", hours: Mapping[str, float]) -> list[str]:
    """Return what it costs to train once more what is not on the disk; nothing for none."""
    keys = [each.key for each in shown if each.meaning == "recreated" and hours.get(each.key)]
    most = as_hours(sum(hours[key] for key in keys))
    line = f"  At most {most} node-hours in jobs of their own for {len(keys)} recreated."
    return [f"{line} What was made of them stays."] if keys else []


def _some(changes: "Sequence[Change]") -> str:
    """Return the first of some tasks, and how many others there are."""
    more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
    return f"{changes[0].key}{more}"


def _is_shown(change: "Change") -> bool:
    """Return whether a change is more than a task that begins, goes on, or is done."""
    words = ("made again", "recreated", "missing", "no longer asked")
    return change.meaning in words or bool(change.differences) or change.is_lost


def _line(change: "Change", hours: Mapping[str, float]) -> str:
    """Return one change: its meaning, the task, its price and why."""
    price = f" ({as_hours(hours[change.key])} node-hours)" if hours.get(change.key) else ""
    reason = f": {change}" if str(change) else ""
    return f"{change.meaning:<15} {change.key}{price}{reason}"
