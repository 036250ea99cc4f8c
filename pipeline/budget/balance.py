"""The site's balance of a project, parsed from the output of its command."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from pipeline.budget.account import Account
from pipeline.outcome import RunError

Format = Literal["showusage", "sbank", "sfapi"]
Row = Mapping[str, Any]
Rows = Callable[[str, str], Iterator[tuple[str, Row]]]
ROUNDING = 0.01  # of the sum: sites print a digit or two


class BalanceError(RunError):
    """The site's output has no balance of the project; the message says what it has."""

    outcome = "bad_input"


@dataclass(frozen=True)
class Balance:
    """Node-hours of a project by its site: granted, used by all its members, and by this user.

    `mine` is None where the site does not say it. `since` is the day from which it counts, as the
    site prints it, None where it does not.
    """

    project: str
    granted: float
    used: float
    mine: float | None = None
    since: date | None = None

    @property
    def left(self) -> float:
        """What is not used yet; below zero where the project is overdrawn."""
        return self.granted - self.used


@dataclass(frozen=True)
class Drift:
    """The ledger beside the site's balance, in node-hours.

    `settled` is what the ledger charged for jobs that the site must know by now, `earlier` what it
    charged before `since`, when the balance began to count (seconds since 1970, None: always), and
    `pending` the rest. `missing` is what the site has charged less than the settled ones: all
    others of the project may have used more, but not less.
    """

    balance: Balance
    settled: float
    pending: float
    earlier: float = 0.0
    since: float | None = None

    @property
    def missing(self) -> float:
        """The node-hours that the site does not know of, though it should; zero if it knows all."""
        known = self.balance.used if self.balance.mine is None else self.balance.mine
        short = self.settled - known
        return short if short > ROUNDING * self.settled else 0.0


def drift(
    balance: Balance,
    accounts: Mapping[str, Account],
    site: str,
    now: float,
    lag_hours: float,
    year_begins: date | None = None,
) -> Drift:
    """Return how the ledger of one campaign stands beside the balance.

    A job that ran as a balance began anew counts by its time since then: sites charge it so
    (NERSC), or as a whole (OLCF, by its end).

    Args:
        balance: What the site says.
        accounts: The ledger's accounts of the jobs that this project pays.
        site: The site; jobs of others are left out.
        now: Seconds since 1970.
        lag_hours: How long after its end a job may be missing from the balance.
        year_begins: A day on which an allocation year of the site began, None if it has none; where
            the balance itself names a day, that one counts.
    """
    since = _since(balance, now, year_begins)
    settled = pending = earlier = 0.0
    for each in (each for each in accounts.values() if each.site == site):
        share = _share(each, since)
        earlier += (1 - share) * each.charged_node_hours
        if each.end is not None and each.end <= now - lag_hours * 3600:
            settled += share * each.charged_node_hours
        else:
            pending += share * each.charged_node_hours
    return Drift(balance, settled, pending, earlier, since)


def _since(balance: Balance, now: float, year_begins: date | None) -> float | None:
    """Return when the balance began to count, in seconds since 1970; None if it always did."""
    if balance.since is not None:
        return datetime.combine(balance.since, datetime.min.time()).timestamp()
    if year_begins is None:
        return None
    year = datetime.fromtimestamp(now).year
    begins = (datetime(each, year_begins.month, year_begins.day) for each in (year - 1, year))
    return max(each for each in (begin.timestamp() for begin in begins) if each <= now)


def _share(account: Account, since: float | None) -> float:
    """Return the share of a job's time that lies after `since`."""
    if since is None or account.end is None:
        return 1.0
    start = account.start if account.start is not None else account.end
    if account.end <= since:
        return 0.0
    return 1.0 if start >= since else (account.end - since) / (account.end - start)


def read_balance(form: Format, text: str, project: str, resource: str) -> Balance:
    """Return the balance of `project` on `resource` in what a site printed.

    `showusage` is OLCF's (docs.olcf.ornl.gov, "Viewing Usage": totals from 1 January to the last
    midnight), `sbank` ALCF's list of allocations (docs.alcf.anl.gov; those of one project add up),
    and `sfapi` the JSON of /account/projects in NERSC's Superfacility API (api.nersc.gov; names as
    its client has them: hours_used is the user's, project_hours_… the project's, gpu_… on GPUs).

    Of other projects only their names are read.

    Raises:
        BalanceError: There is no such project, or it is no such print.
    """
    rows, balance = READERS[form]
    try:
        found = list(rows(text, resource))
        mine = [row for name, row in found if name == project]
        if mine:
            return balance(project, mine)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"what should be a print of {form} cannot be read ({error}): {_begin(text)}"
        raise BalanceError(message) from error
    names = ", ".join(dict.fromkeys(name for name, _ in found))
    there = f"It has: {names}." if names else f"It says: {_begin(text)}"
    message = f"no balance of project {project!r} on {resource} in the print of {form}. {there}"
    raise BalanceError(message)


def _showusage_rows(text: str, resource: str) -> Iterator[tuple[str, Row]]:
    """Yield the rows of: Project | Allocation | Usage | Remaining | the user's Usage."""
    del resource  # the command knows where it runs
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and cells[0].strip("_"):
            yield (
                cells[0],
                dict(zip(("name", "granted", "used", "left", "mine"), cells, strict=True)),
            )


def _showusage(project: str, rows: list[Row]) -> Balance:
    """Return the balance in the last row of a project."""
    granted, used, mine = (_number(rows[-1][each]) for each in ("granted", "used", "mine"))
    return Balance(project, granted, used, mine)


def _sbank_rows(text: str, resource: str) -> Iterator[tuple[str, Row]]:
    """Yield the rows of a table whose columns are as wide as the dashes below their names."""
    lines = text.splitlines()
    rules = [i for i, line in enumerate(lines) if re.fullmatch(r"\s*-+(\s+-+)+\s*", line)]
    if not rules:
        message = "no table"
        raise ValueError(message)
    rule = rules[0]
    spans = [match.span() for match in re.finditer(r"-+", lines[rule])]
    names = [lines[rule - 1][begin:end].strip() for begin, end in spans]
    for line in lines[rule + 1 :]:
        if not line.strip():
            break
        row = dict(zip(names, (line[begin:end].strip() for begin, end in spans), strict=True))
        if row["Resource"] == resource:
            yield row["Project"], row


def _sbank(project: str, rows: list[Row]) -> Balance:
    """Return the sum of a project's allocations, which counts from the day the first began."""
    used = sum(_number(row["Charged"]) for row in rows)
    left = sum(_number(row["Available Balance"]) for row in rows)
    begins = [date.fromisoformat(row["Start"]) for row in rows if row.get("Start")]
    return Balance(project, used + left, used, since=min(begins, default=None))


def _sfapi_rows(text: str, resource: str) -> Iterator[tuple[str, Row]]:
    """Yield the JSON of one or several projects."""
    del resource
    content: Any = json.loads(text)
    for each in content if isinstance(content, list) else [content]:
        if isinstance(each, dict) and "repo_name" in each:
            yield each["repo_name"], each


def _sfapi(project: str, rows: list[Row]) -> Balance:
    """Return the balance of a project, of its hours on GPUs if it has any."""
    row = rows[-1]
    on = "gpu_" if "gpu_project_hours_given" in row else ""
    granted, used = row[f"{on}project_hours_given"], row[f"{on}project_hours_used"]
    return Balance(project, float(granted), float(used), float(row[f"{on}hours_used"]))


def _number(words: str) -> float:
    """Return the number that a table prints, with or without commas."""
    return float(words.replace(",", ""))


def _begin(text: str) -> str:
    """Return how a text begins, in one line."""
    words = " ".join(text.split())
    return f"{words[:120]!r}" if words else "nothing"


READERS: dict[Format, tuple[Rows, Callable[[str, list[Row]], Balance]]] = {
    "showusage": (_showusage_rows, _showusage),
    "sbank": (_sbank_rows, _sbank),
    "sfapi": (_sfapi_rows, _sfapi),
}
