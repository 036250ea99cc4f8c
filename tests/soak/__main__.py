"""`make soak`: inject each fault into campaigns on the test bed, and print a table.

python -m tests.soak --times 10 --seed 1 [--only "node down"] [--to docs/measured/soak.md]

With --together every campaign is hit by all faults in random order, by each of them --each times.
With --wide a campaign has twelve pretraining cells.
"""

import argparse
import random
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from soak.bed import CAMPAIGN, Bed, bring_up, resume_all
from soak.faults import FAULTS, Fault
from soak.once import Soaked, soak
from soak.wide import CAMPAIGN as WIDE

PAGE = """\
# Faults on a real Slurm

`python -m tests.soak --times {times} --seed {seed}` on the site {site} of the test bed, {date}:
campaigns of {cells} with the tasks before and after them, {way}, at random
moments. A campaign passes if every task is done, the results equal those of the calm run (the same
campaign without faults) to the bit, no job is left, and the ledger has the same seconds for each
job as `sacct -D`. The last two columns compare with the calm run, which took {seconds:.0f} s and
{node_hours:.4f} node-hours. [faults.py](../../tests/soak/faults.py) says what each fault does.

"""
HEAD = """\
| fault | times | passed | commands typed, at most | extra node-hours, mean | extra seconds, mean |
|---|---|---|---|---|---|
"""


def main() -> int:
    """Run the campaigns, print a line for each and the table; return 1 if anything was wrong."""
    options = _arguments()
    folder = bring_up() / "soak"
    dice = random.Random(options.seed)
    calm = _one(folder, dice, "calm", [], options)
    _report("calm", calm, calm)
    names = options.only or list(FAULTS)
    several = _together if options.together else _one_by_one
    found = list(several(folder, dice, names, calm, options))
    rows = [_row(name, [each for of, each in found if of == name], calm) for name in names]
    table = (
        HEAD + "\n".join(rows) + "\n" + _typed_for({id(each): each for _, each in found}.values())
    )
    sys.stdout.write(table)
    if options.to is not None:
        took = {"seconds": calm.seconds, "node_hours": calm.node_hours}
        way = (
            f"each hit by all faults {options.each} time(s) in random order"
            if options.together
            else "each hit by one fault"
        )
        cells = "twelve pretraining cells" if options.wide else "two chained pretrainings"
        settings = {
            "times": options.times,
            "seed": options.seed,
            "site": options.site,
            "way": way,
            "cells": cells,
        }
        page = PAGE.format(date=time.strftime("%Y-%m-%d"), **settings, **took)
        options.to.write_text(page + table)
    return int(bool(calm.wrong) or any(_wrong(each, calm) for _, each in found))


Found = Iterator[tuple[str, Soaked]]


def _one_by_one(
    folder: Path, dice: random.Random, names: list[str], calm: Soaked, options: argparse.Namespace
) -> Found:
    """Yield the name of each fault and the campaign that it hit."""
    for name in names:
        for _ in range(options.times):
            after = dice.uniform(2.0, calm.seconds - 2.0)
            found = _one(folder, dice, name, [(after, FAULTS[name])], options)
            _report(name, found, calm)
            yield name, found


def _together(
    folder: Path, dice: random.Random, names: list[str], calm: Soaked, options: argparse.Namespace
) -> Found:
    """Yield the name of each injected fault and the campaign that it hit."""
    name_of = {fault: name for name, fault in FAULTS.items()}
    for _ in range(options.times):
        order, after, faults = dice.sample(names * options.each, len(names) * options.each), 0.0, []
        for name in order:
            after += dice.uniform(2.0, 2 * calm.seconds / len(order))
            faults.append((after, FAULTS[name]))
        found = _one(folder, dice, "all, preemption too", faults, options)
        _report(", ".join(order), found, calm)
        yield from ((name_of[fault], found) for fault in found.done)


def _one(
    folder: Path,
    dice: random.Random,
    name: str,
    faults: list[tuple[float, Fault]],
    options: argparse.Namespace,
) -> Soaked:
    bed = Bed(folder, dice, WIDE if options.wide else CAMPAIGN)
    bed.prepare(options.site)
    resume_all()
    found = soak(bed, faults, qos="preempt" if "preemption" in name else "")
    logs = bed.log.with_name("cosmotron-soak-logs")  # the next test bed has a new scratch
    logs.mkdir(exist_ok=True)
    shutil.copy(bed.log, logs / f"{time.time():.0f} {name}.log")
    return found


def _wrong(found: Soaked, calm: Soaked) -> list[str]:
    """Return everything that is wrong, including results that differ from the calm run's."""
    differ = [key for key in calm.results if found.results.get(key) != calm.results[key]]
    return [*found.wrong, *(f"result differs: {key}" for key in differ)]


def _report(name: str, found: Soaked, calm: Soaked) -> None:
    wrong = "; ".join(_wrong(found, calm)) or "as calm"
    took = f"{found.runs} run(s), {found.jobs} jobs, {found.seconds:.0f} s"
    stamp = time.strftime("%H:%M:%S")
    line = f"{stamp}  {name}, {found.what}: {took}, {found.node_hours:.4f} node-hours: {wrong}"
    sys.stdout.write(f"{line}\n{_typed_for([found]) if found.reasons else ''}")
    sys.stdout.flush()


def _row(name: str, done: list[Soaked], calm: Soaked) -> str:
    if not done:
        return f"| {name} | 0 | 0 | | | |"
    passed = sum(not _wrong(each, calm) for each in done)
    hours = sum(each.node_hours - calm.node_hours for each in done) / len(done)
    seconds = sum(each.seconds - calm.seconds for each in done) / len(done)
    most = max(each.runs for each in done)
    return f"| {name} | {len(done)} | {passed} | {most} | {hours:.4f} | {seconds:.0f} |"


def _typed_for(campaigns: Iterable[Soaked]) -> str:
    """Return a table of the messages after which the command was typed again, and how often."""
    messages = Counter(
        re.sub(r"/\S+|\d+", "…", reason)[:120] for each in campaigns for reason in each.reasons
    )
    rows = "".join(f"| {message} | {count} |\n" for message, count in messages.most_common())
    return f"\n| typed again after | times |\n|---|---|\n{rows}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="how often each fault is injected")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--site", default="testbed")
    parser.add_argument(
        "--together", action="store_true", help="inject all faults into each campaign"
    )
    parser.add_argument("--each", type=int, default=1, help="with --together: how often each fault")
    parser.add_argument("--wide", action="store_true", help="campaigns of twelve cells")
    parser.add_argument("--only", action="append", choices=list(FAULTS), help="only this fault")
    parser.add_argument("--to", type=Path, help="also write the page here")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
