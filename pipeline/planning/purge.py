"""What a scratch file system removes before a campaign has used it."""

import time
from collections.abc import Collection, Iterator

from pipeline.budget.forecast import kept
from pipeline.data.space import Room
from pipeline.outcome import RunError
from pipeline.planning.needed import DAY_SECONDS, Purge, needed, purges
from pipeline.planning.plan import Plan, Step
from pipeline.planning.selection import Part


def warnings(plan: Plan, part: Part, now: float) -> Iterator[str]:
    """Yield a line for each product that is removed before a task that is to be done reads it.

    When that is follows from the walltimes, as if no job ever waited; where there is a forecast,
    stretched to the end that it expects.
    """
    found = needed(part, plan.run)
    begins, source = starts(plan, {task.key for task in part.to_do}, now)
    for each in purges(found, plan.site):
        begin = begins.get(each.needed.reader, now)
        if each.date < begin:
            reads = f"{each.needed.reader} reads them on {_day(begin)} {source}"
            yield f"{described(each)}, and {reads}. {advice(plan, each)}"


def described(purge: Purge) -> str:
    """Return which files are removed, and from when on."""
    size = Room(purge.bytes, len(purge.needed.files))
    return (
        f"{size} of {purge.needed.made_by} may be purged from "
        f"{_day(purge.date)} on, {purge.days} days after one of them was last read"
    )


def advice(plan: Plan, purge: Purge) -> str:
    """Return where to keep files that are removed."""
    keep_at = plan.site.file_systems[purge.name].keep_at or "another file system"
    return f"Copy them to {keep_at}, or stage and train later."


def starts(plan: Plan, to_do: Collection[str], now: float) -> tuple[dict[str, float], str]:
    """Return when each task of the plan begins, in seconds since 1970, and what that rests on."""
    minutes: dict[str, float] = {}
    ends: dict[str, float] = {}
    for step in plan.steps:  # each after those it needs
        key = step.task.key
        minutes[key] = max((ends.get(each, 0.0) for each in step.task.needs), default=0.0)
        ends[key] = minutes[key] + (_minutes(step) if key in to_do else 0.0)
    shortest = max(ends.values(), default=0.0) * 60
    expected = _expected_seconds(plan, now)
    factor = max(1.0, expected / shortest) if shortest else 1.0
    source = "by the last forecast" if expected else "at the earliest"
    return {key: now + factor * 60 * each for key, each in minutes.items()}, source


def _minutes(step: Step) -> float:
    """Return the walltime of a training, 0 of what is short and runs in pilots."""
    training = getattr(step.task, "training", None)
    return float(training.walltime_minutes) if training is not None else 0.0


def _expected_seconds(plan: Plan, now: float) -> float:
    """Return how long the rest takes by the last forecast for this site, 0 without one."""
    try:
        forecast = kept(plan.run)
    except RunError:
        return 0.0
    if forecast is None or forecast.site != plan.site.name:
        return 0.0
    return max(0.0, forecast.now + forecast.days.middle * DAY_SECONDS - now)


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))
