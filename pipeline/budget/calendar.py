"""Where the days of a campaign went: its jobs ran, waited, or nothing was submitted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from pipeline.attendance import Life
from pipeline.budget.account import Account

RUNNING, QUEUED = "jobs ran", "jobs waited in the queue"
HELD, ABSENT = "a controller lived and submitted nothing", "nobody had started `cosmotron run`"
KINDS = (RUNNING, QUEUED, HELD, ABSENT)


@dataclass(frozen=True)
class Span:
    """From `begin` to `end` (seconds since 1970) a campaign did one of `KINDS`."""

    begin: float
    end: float
    what: str

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.begin


@dataclass(frozen=True)
class TimeSpent:
    """The time of one of `KINDS`: its sum, its share, and the `longest` at a stretch."""

    what: str
    seconds: float
    share: float
    longest: Span


def spans(accounts: Iterable[Account], lives: Sequence[Life], until: float) -> list[Span]:
    """Return what a campaign did from its first job or controller `until` a moment, without gaps.

    Of what happened at once the first of `KINDS` counts. A job waits from its reservation.

    Args:
        accounts: The jobs of one site; tasks within a pilot do not count.
        lives: The controllers.
        until: Seconds since 1970: now, or the end of the campaign.
    """
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for each in accounts:
        if not each.job_id:
            continue
        end = each.end if each.end is not None else until
        start = each.start if each.start is not None else end
        times[QUEUED].append((min(each.since, start), start))
        if each.start is not None:
            times[RUNNING].append((start, end))
    times[HELD] = [(life.began, life.seen) for life in lives]
    begins = [begin for each in times.values() for begin, _ in each]
    times[ABSENT] = [(min(begins, default=until), until)]
    return _joined(_cut(times, until))


def _cut(times: dict[str, list[tuple[float, float]]], until: float) -> Iterable[Span]:
    """Yield a span between every two moments at which something began or ended."""
    moments = sorted({min(t, until) for each in times.values() for pair in each for t in pair})
    changes = sorted(
        (min(t, until), kind, step)
        for kind, each in times.items()
        for begin, end in each
        for t, step in ((begin, 1), (max(begin, end), -1))
    )
    count, position = dict.fromkeys(KINDS, 0), 0
    for begin, end in pairwise(moments):
        while position < len(changes) and changes[position][0] <= begin:
            _, kind, step = changes[position]
            count[kind] += step
            position += 1
        yield Span(begin, end, next((kind for kind in KINDS if count[kind] > 0), ABSENT))


def _joined(found: Iterable[Span]) -> list[Span]:
    """Return the spans with neighbours of one kind joined."""
    groups = (list(group) for _, group in groupby(found, key=lambda span: span.what))
    return [Span(group[0].begin, group[-1].end, group[0].what) for group in groups]


def days(found: Sequence[Span]) -> list[TimeSpent]:
    """Return the sums of `found`, in the order of `KINDS`, of those that happened."""
    total = sum(span.seconds for span in found)
    rows = []
    for kind in KINDS:
        mine = [span for span in found if span.what == kind]
        if mine and total > 0:
            seconds = sum(span.seconds for span in mine)
            longest = max(mine, key=lambda span: span.seconds)
            rows.append(TimeSpent(kind, seconds, seconds / total, longest))
    return rows
