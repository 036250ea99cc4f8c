"""One change of a campaign: what `plan` predicts, what `run` does, and everything that is wrong."""

import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from months.bed import Bed, Typed
from pipeline.outcome import Exit

TO_DO = ("made again", "goes on", "recreated", "new")


@dataclass(frozen=True)
class Row:
    """A row of the table: what a user wants, and how the campaign, run or machine is changed.

    `again` and `new` are patterns of the tasks that may be made again, or go on, and that are made
    for the first time; no other may be touched. Every pattern has to match some task. `says` is in
    what `plan` prints, if anything is expected there; `code` is that of `plan` and `run`. What is
    `refused` has a plan, and `run` does nothing of it.
    """

    wish: str
    change: Callable[[Bed], object]
    again: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    says: str = ""
    code: int = 0
    refused: bool = False


@dataclass(frozen=True)
class Lived:
    """What came of a row: how many tasks were made, and what was wrong."""

    wish: str
    made: int
    kept: int
    seconds: float
    wrong: tuple[str, ...]


def live(bed: Bed, row: Row) -> Lived:
    """Change the campaign, plan it, run it, and compare the three."""
    began = time.monotonic()
    row.change(bed)
    before, spent = bed.products(), _charged(bed)
    planned = bed.type("plan", "--json")
    told = bed.type("plan")
    ran = bed.type("run", "--yes")
    after = bed.products()
    wrong = list(_wrong_ends(row, planned, told, ran))
    if row.refused and after != before:
        wrong.append("run has made something, though it refused")
    if not wrong and row.code == 0 and not row.refused:
        meanings = {key: step["meaning"] for key, step in planned.steps.items()}
        wrong += _wrong_prediction(meanings, before, after)
        wrong += _wrong_tasks(row, meanings)
        wrong += _unsettled(bed, spent)
    made = sum(before.get(key) != mark for key, mark in after.items())
    return Lived(row.wish, made, len(after) - made, time.monotonic() - began, tuple(wrong))


def _wrong_ends(row: Row, planned: Typed, told: Typed, ran: Typed) -> list[str]:
    """Return which command ended otherwise than expected, with its last words."""
    wrong = []
    for verb, typed, code in (
        ("plan", planned, row.code),
        ("run", ran, int(Exit.USAGE) if row.refused else row.code),
    ):
        if typed.code != code:
            wrong.append(f"{verb} ended with {typed.code}: {typed.err.strip()[-600:]}")
    words = " ".join((told.out + told.err).split())
    if row.says and row.says not in words:
        wrong.append(f"plan does not say {row.says!r}, but: {words[-600:]}")
    return wrong


def _wrong_prediction(
    meanings: dict[str, str], before: dict[str, str], after: dict[str, str]
) -> list[str]:
    """Return each task of which `plan` said one thing, and with which `run` did another."""
    wrong = []
    for key, meaning in meanings.items():
        was_made = key in after and before.get(key) != after[key]
        if was_made != (meaning in TO_DO):
            wrong.append(f"{key}: plan said {meaning!r}; made: {was_made}")
    touched = [key for key in before.keys() - meanings.keys() if after.get(key) != before[key]]
    return [*wrong, *(f"{key} is not asked any longer, and was touched" for key in touched)]


def _wrong_tasks(row: Row, meanings: dict[str, str]) -> list[str]:
    """Return each task that need not have been made, and each expected one that was not."""
    wrong = []
    for patterns, names in ((row.again, ("made again", "goes on")), (row.new, ("new",))):
        found = [key for key, meaning in meanings.items() if meaning in names]
        wrong += [
            f"{key} was {meanings[key]}, and need not have been"
            for key in found
            if not any(re.fullmatch(each, key) for each in patterns)
        ]
        wrong += [
            f"no task {each!r} was {' or '.join(names)}"
            for each in patterns
            if not any(re.fullmatch(each, key) for key in found)
        ]
    return wrong


def _charged(bed: Bed) -> float:
    """Return the node-hours that the ledger has charged, 0 before the first job."""
    told = bed.type("budget", "--json")
    return told.charged if told.code == 0 else 0.0


def _unsettled(bed: Bed, spent: float) -> list[str]:
    """Return what does not hold: sums are the same by any row and never shrink; all is done."""
    sums = {by: bed.type("budget", "--json", "--by", by).charged for by in ("stage", "user")}
    wrong = []
    if max(sums.values()) - min(sums.values()) > 1e-9:
        wrong.append(f"the ledger's sums differ: {sums}")
    if sums["stage"] < spent - 1e-9:
        wrong.append(f"the ledger had charged {spent}, and has {sums['stage']} now")
    again = bed.type("plan", "--json")
    left = [key for key, step in again.steps.items() if step["meaning"] in TO_DO]
    if left:
        wrong.append(f"after the run these are still to do: {left}")
    return wrong


def accounted(name: str, since: float) -> dict[str, int]:
    """Return the seconds of each job of a campaign by Slurm's accounting, every attempt summed."""
    start = time.strftime("%FT%T", time.localtime(since))
    line = ["sacct", "-X", "-D", "-P", "-n", f"--starttime={start}"]
    rows = subprocess.run(
        [*line, "-o", "JobIDRaw,ElapsedRaw,JobName"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    found: dict[str, int] = {}
    for job, seconds, key in (row.split("|", 2) for row in rows):
        if key.startswith(f"{name}."):
            found[job] = found.get(job, 0) + int(seconds)
    return found
