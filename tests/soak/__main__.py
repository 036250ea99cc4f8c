"""`make soak`: each fault at random moments over campaigns on the test bed, as a table.

python -m tests.soak --times 10 --seed 1 [--only "node down"] [--to docs/measured/soak.md]

With --together each of so many campaigns is hit by all of them, one after the other in any order,
by each --each times. With --wide the campaigns are of twelve pretraining cells.
"""

import argparse
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from soak.bed import CAMPAIGN, Bed, bring_up, slurm
from soak.faults import FAULTS, Fault
from soak.once import Soaked, soak
from soak.wide import CAMPAIGN as WIDE

PAGE = """\
# Faults on a real Slurm

`python -m tests.soak --times {times} --seed {seed}` on the site {site} of the test bed, {date}:
campaigns of {cells} with what precedes and follows them, {way} at random
moments. Passed is what ended with every task done, results equal to the calm run's to the bit, no
job left, and each job's seconds in the ledger equal to those of `sacct -D`. Extra is beside the
calm run, which took {seconds:.0f} s and {node_hours:.4f} node-hours. What each fault does:
[faults.py](../../tests/soak/faults.py).

"""
HEAD = """\
| fault | times | passed | commands typed, most | extra node-hours, mean | extra seconds, mean |
|---|---|---|---|---|---|
"""


def main() -> int:
    """Run what is asked, print a line for each campaign and the table; 1 if anything was wrong."""
    asked = _arguments()
    folder = bring_up() / "soak"
    dice = random.Random(asked.seed)
    calm = _one(folder, dice, "calm", [], asked)
    _tell("calm", calm, calm)
    names = asked.only or list(FAULTS)
    several = _together if asked.together else _one_by_one
    found = list(several(folder, dice, names, calm, asked))
    rows = [_row(name, [each for of, each in found if of == name], calm) for name in names]
    table = HEAD + "\n".join(rows) + "\n"
    sys.stdout.write(table)
    if asked.to is not None:
        told = {"seconds": calm.seconds, "node_hours": calm.node_hours}
        way = f"all ten {asked.each} time(s), in any order" if asked.together else "each hit once"
        cells = "twelve pretraining cells" if asked.wide else "two chained pretrainings"
        asked_for = {
            "times": asked.times,
            "seed": asked.seed,
            "site": asked.site,
            "way": way,
            "cells": cells,
        }
        page = PAGE.format(date=time.strftime("%Y-%m-%d"), **asked_for, **told)
        asked.to.write_text(page + table)
    return int(bool(calm.wrong) or any(_wrong(each, calm) for _, each in found))


Found = Iterator[tuple[str, Soaked]]


def _one_by_one(
    folder: Path, dice: random.Random, names: list[str], calm: Soaked, asked: argparse.Namespace
) -> Found:
    """Yield a fault's name and the campaign that it was done to."""
    for name in names:
        for _ in range(asked.times):
            after = dice.uniform(2.0, calm.seconds - 2.0)
            found = _one(folder, dice, name, [(after, FAULTS[name])], asked)
            _tell(name, found, calm)
            yield name, found


def _together(
    folder: Path, dice: random.Random, names: list[str], calm: Soaked, asked: argparse.Namespace
) -> Found:
    """Yield a fault's name, for each time that it was done, with the campaign it was done to."""
    name_of = {fault: name for name, fault in FAULTS.items()}
    for _ in range(asked.times):
        order, after, faults = dice.sample(names * asked.each, len(names) * asked.each), 0.0, []
        for name in order:
            after += dice.uniform(2.0, 2 * calm.seconds / len(order))
            faults.append((after, FAULTS[name]))
        found = _one(folder, dice, "all, preemption too", faults, asked)
        _tell(", ".join(order), found, calm)
        yield from ((name_of[fault], found) for fault in found.done)


def _one(
    folder: Path,
    dice: random.Random,
    name: str,
    faults: list[tuple[float, Fault]],
    asked: argparse.Namespace,
) -> Soaked:
    bed = Bed(folder, dice, WIDE if asked.wide else CAMPAIGN)
    bed.prepare(asked.site)
    for node in slurm("sinfo", "-h", "-N", "-t", "down,drain", "-o", "%N").split():
        slurm("scontrol", "update", f"nodename={node}", "state=resume", check=False)
    found = soak(bed, faults, qos="preempt" if "preemption" in name else "")
    logs = folder.with_name("soak-logs")
    logs.mkdir(exist_ok=True)
    shutil.copy(bed.folder / "controller.log", logs / f"{time.time():.0f} {name}.log")
    return found


def _wrong(found: Soaked, calm: Soaked) -> list[str]:
    """Return all that is wrong, results that differ from the calm run's included."""
    differ = [key for key in calm.results if found.results.get(key) != calm.results[key]]
    return [*found.wrong, *(f"result differs: {key}" for key in differ)]


def _tell(name: str, found: Soaked, calm: Soaked) -> None:
    wrong = "; ".join(_wrong(found, calm)) or "as calm"
    took = f"{found.runs} run(s), {found.jobs} jobs, {found.seconds:.0f} s"
    stamp = time.strftime("%H:%M:%S")
    told = f"{stamp}  {name}, {found.what}: {took}, {found.node_hours:.4f} node-hours: {wrong}"
    sys.stdout.write(f"{told}\n")
    sys.stdout.flush()


def _row(name: str, done: list[Soaked], calm: Soaked) -> str:
    if not done:
        return f"| {name} | 0 | 0 | | | |"
    passed = sum(not _wrong(each, calm) for each in done)
    hours = sum(each.node_hours - calm.node_hours for each in done) / len(done)
    seconds = sum(each.seconds - calm.seconds for each in done) / len(done)
    most = max(each.runs for each in done)
    return f"| {name} | {len(done)} | {passed} | {most} | {hours:.4f} | {seconds:.0f} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="how often each fault is injected")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--site", default="testbed")
    parser.add_argument("--together", action="store_true", help="all of them to each campaign")
    parser.add_argument("--each", type=int, default=1, help="with --together: how often each")
    parser.add_argument("--wide", action="store_true", help="campaigns of twelve cells")
    parser.add_argument("--only", action="append", choices=list(FAULTS), help="this fault alone")
    parser.add_argument("--to", type=Path, help="also write the table here")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
