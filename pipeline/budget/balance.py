"""The site's balance of a project, parsed from the output of its command."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.budget.account import Account
from pipeline.outcome import RunError

Format = Literal["showusage", "sbank", "sfapi"]
ROUNDING = 0.01  # of the sum: sites print a digit or two


class BalanceError(RunError):
    """The site's output has no balance of the project; the message says what it has."""

    outcome = "bad_input"


@dataclass(frozen=True)
class Balance:
    """Node-hours of a project by its site: granted, used by all its members, and by this user.

    `mine` is None where the site does not say it.
    """

    project: str
    granted: float
    used: float
    mine: float | None = None

    @property
    def left(self) -> float:
        """What is not used yet; below zero where the project is overdrawn."""
        return self.granted - self.used


@dataclass(frozen=True)
class Drift:
    """The ledger beside the site's balance, in node-hours.

    `settled` is what the ledger charged for jobs that the site must know by now, `pending` the
    rest. `missing` is what the site has charged less than the settled ones: all others of the
    project may have used more, but not less.
    """

    balance: Balance
    settled: float
    pending: float

    @property
    def missing(self) -> float:
        """The node-hours that the site does not know of, though it should; zero if it knows all."""
        known = self.balance.used if self.balance.mine is None else self.balance.mine
        short = self.settled - known
        return short if short > ROUNDING * self.settled else 0.0


def drift(
    balance: Balance, accounts: Mapping[str, Account], site: str, now: float, lag_hours: float
) -> Drift:
    """Return how the ledger of one campaign stands beside the balance.

    Args:
        balance: What the site says.
        accounts: The ledger's accounts of the jobs that this project pays.
        site: The site; jobs of others are left out.
        now: Seconds since 1970.
        lag_hours: How long after its end a job may be missing from the balance.
    """
    mine = [each for each in accounts.values() if each.site == site]
    settled = pending = 0.0
    for each in mine:
        if each.end is not None and each.end <= now - lag_hours * 3600:
            settled += each.charged_node_hours
        else:
            pending += each.charged_node_hours
    return Drift(balance, settled, pending)


def read_balance(form: Format, text: str, project: str, resource: str) -> Balance:
    """Return the balance of `project` on `resource` in what a site printed.

    `showusage` is OLCF's (docs.olcf.ornl.gov, "Viewing Usage": totals from 1 January to the last
    midnight), `sbank` ALCF's list of allocations (docs.alcf.anl.gov; those of one project add up),
    and `sfapi` the JSON of /account/projects in NERSC's Superfacility API (api.nersc.gov; names as
    its client has them: hours_used is the user's, project_hours_… the project's, gpu_… on GPUs).

    Raises:
        BalanceError: There is no such project, or it is no such print.
    """
    try:
        found = dict(READERS[form](text, resource))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"what should be a print of {form} cannot be read ({error}): {_begin(text)}"
        raise BalanceError(message) from error
    if project not in found:
        there = f"It has: {', '.join(found)}." if found else f"It says: {_begin(text)}"
        message = f"no balance of project {project!r} on {resource} in the print of {form}. {there}"
        raise BalanceError(message)
    return found[project]


def _showusage(text: str, resource: str) -> Iterator[tuple[str, Balance]]:
    """Yield the balances in: Project | Allocation | Usage | Remaining | the user's Usage."""
    del resource  # the command knows where it runs
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and cells[0].strip("_"):
            name, granted, used, _, mine = cells
            yield name, Balance(name, _number(granted), _number(used), _number(mine))


def _sbank(text: str, resource: str) -> Iterator[tuple[str, Balance]]:
    """Yield the balances in a table whose columns are as wide as the dashes below their names."""
    lines = text.splitlines()
    rules = [i for i, line in enumerate(lines) if re.fullmatch(r"\s*-+(\s+-+)+\s*", line)]
    if not rules:
        message = "no table"
        raise ValueError(message)
    rule = rules[0]
    spans = [match.span() for match in re.finditer(r"-+", lines[rule])]
    names = [lines[rule - 1][begin:end].strip() for begin, end in spans]
    used: dict[str, float] = {}
    left: dict[str, float] = {}
    for line in lines[rule + 1 :]:
        if not line.strip():
            break
        row = dict(zip(names, (line[begin:end].strip() for begin, end in spans), strict=True))
        if row["Resource"] == resource:
            name = row["Project"]
            used[name] = used.get(name, 0.0) + _number(row["Charged"])
            left[name] = left.get(name, 0.0) + _number(row["Available Balance"])
    for name, charged in used.items():
        yield name, Balance(name, charged + left[name], charged)


def _sfapi(text: str, resource: str) -> Iterator[tuple[str, Balance]]:
    """Yield the balances in the JSON of one or several projects."""
    del resource
    content: Any = json.loads(text)
    for each in content if isinstance(content, list) else [content]:
        on = "gpu_" if "gpu_project_hours_given" in each else ""
        granted, used = each[f"{on}project_hours_given"], each[f"{on}project_hours_used"]
        name, mine = each["repo_name"], each[f"{on}hours_used"]
        yield name, Balance(name, float(granted), float(used), float(mine))


def _number(words: str) -> float:
    """Return the number that a table prints, with or without commas."""
    return float(words.replace(",", ""))


def _begin(text: str) -> str:
    """Return how a text begins, in one line."""
    words = " ".join(text.split())
    return f"{words[:120]!r}" if words else "nothing"


READERS: dict[Format, Callable[[str, str], Iterator[tuple[str, Balance]]]] = {
    "showusage": _showusage,
    "sbank": _sbank,
    "sfapi": _sfapi,
}
