"""What a benchmark is: the same work done by us and by others, in turn, and the ratio of rates."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Work = Callable[[], object]


@dataclass(frozen=True)
class Contest:
    """One subject: `amount` of `unit` is done by `ours` and by each of `others`.

    A name in `limits` is what the machine allows, not a rival: nothing real can beat it. `aims`
    are the ratios that we want to reach.
    """

    what: str
    amount: float
    unit: str
    ours: Work
    others: dict[str, Work]
    limits: frozenset[str] = frozenset()
    aims: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """One line of the table; `ratio` is our rate over theirs, the median of interleaved pairs.

    Where bytes are compared, it is ours over theirs. `aim` is what it should be, if anything.
    """

    what: str
    ours: str
    other: str
    theirs: str
    ratio: float
    is_limit: bool = False
    aim: str = ""


def weighed(what: str, ours: float, other: str, theirs: float, *, aim: str = "") -> Line:
    """Return the line of two numbers of bytes, of which fewer are better."""
    return Line(what, _megabytes(ours), other, _megabytes(theirs), ours / theirs, aim=aim)


def hold(contest: Contest, *, repeats: int) -> list[Line]:
    """Return a line for each of the others, after one round that warms caches and counts nothing.

    Everybody takes a turn in every round, so that a busy machine slows all of them alike.
    """
    works = {"ours": contest.ours, **contest.others}
    for work in works.values():
        work()
    rounds = [{name: _seconds(work) for name, work in works.items()} for _ in range(repeats)]
    rates = {
        name: contest.amount / statistics.median(each[name] for each in rounds) for name in works
    }
    return [
        Line(
            what=contest.what,
            ours=f"{_short(rates['ours'])} {contest.unit}/s",
            other=name,
            theirs=f"{_short(rates[name])} {contest.unit}/s",
            ratio=statistics.median(each[name] / each["ours"] for each in rounds),
            is_limit=name in contest.limits,
            aim=f"≥ {contest.aims[name]:g}" if name in contest.aims else "",
        )
        for name in contest.others
    ]


def _seconds(work: Work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _short(rate: float) -> str:
    """Return a rate with three digits that matter."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _megabytes(count: float) -> str:
    return f"{count / 1e6:.3g} MB"
