"""Take one campaign through months of changes, and print a table.

python -m tests.months --site local [--rows 10] [--to docs/measured/months.md]

After each row `plan` must have predicted what `run` did, nothing finished may have been made again
that need not be, and the sums of the ledger hold. On the test bed (`--site testbed`) the ledger
must also have the seconds of `sacct`.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from soak.bed import bring_up

from months.bed import Bed
from months.check import Lived, accounted, live
from months.rows import ROWS, Row
from months.second_user import admitted
from pipeline.budget.ledger import Ledger

PAGE = """\
# Months of one campaign

`python -m tests.months --site {site}`, {date}: one small campaign (simulation, staging,
pretraining, fine-tuning, evaluation) is changed {count} times, as its user, its machine and its
versions change over months. After each change we type `plan` and `run`. A row is right if

- `plan` predicted for each task what `run` then did;
- nothing finished was made again that need not be, and what had to be was;
- the sums of the ledger, by stage and by user, are the same and never shrink;
- a second `plan` has nothing to do.{slurm}

[rows.py](../../tests/months/rows.py) says what each change is. *Made* counts tasks, and *kept*
those that stayed as they were.

"""
ON_SLURM = "\n\nAt the end the ledger has the seconds that `sacct` has of each job."
HEAD = """\
| the user wants to | made | kept | wrong |
|---|---|---|---|
"""


def main() -> int:
    """Live through the rows; return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.months", description=__doc__)
    parser.add_argument("--site", default="local")
    parser.add_argument("--rows", type=int, default=len(ROWS), help="only so many")
    parser.add_argument("--to", type=Path, help="also write the table here")
    options = parser.parse_args()
    began = time.time()
    on_slurm = options.site.startswith("testbed")
    place = (bring_up() if on_slurm else open_to_all(tempfile.mkdtemp())) / "months"
    shutil.rmtree(place, ignore_errors=True)
    bed = Bed(place, options.site)
    with admitted(place) if on_slurm else nullcontext():
        lived = list(_lived(bed, ROWS[: options.rows]))
    wrong = [line for each in lived for line in each.wrong]
    if on_slurm:
        wrong += drift(bed, began)
    table = HEAD + "\n".join(map(_line, lived)) + "\n"
    sys.stdout.write(table + "".join(f"- {line}\n" for line in wrong))
    if options.to is not None:
        date, slurm = time.strftime("%Y-%m-%d"), ON_SLURM if on_slurm else ""
        page = PAGE.format(site=options.site, date=date, count=len(lived), slurm=slurm)
        options.to.write_text(page + table)
    return int(bool(wrong))


def _lived(bed: Bed, rows: Sequence[Row]) -> Iterator[Lived]:
    """Live through the rows; of a first one that goes wrong nothing is left to change."""
    for number, row in enumerate(rows):
        found = live(bed, row)
        print(_line(found), f"  ({found.seconds:.0f} s)", file=sys.stderr, flush=True)
        yield found
        if found.wrong and not number:
            return


def open_to_all(folder: str) -> Path:
    """Let other users enter a folder, as a second one will."""
    path = Path(folder)
    path.chmod(0o755)
    return path


def drift(bed: Bed, since: float) -> list[str]:
    """Return where the ledger differs from accounting, to the second."""
    ledger = Ledger(bed.run / "ledger").accounts().values()
    ours = {each.job_id: each.seconds for each in ledger if each.job_id}
    theirs = accounted(str(bed.content["name"]), since)
    return [
        f"job {job}: ledger {ours.get(job)} s, sacct {theirs.get(job)} s"
        for job in sorted(ours.keys() | theirs.keys())
        if ours.get(job) != theirs.get(job, 0 if job in ours else None)
    ]


def _line(lived: Lived) -> str:
    wrong = "; ".join(lived.wrong) or "nothing"
    return f"| {lived.wish} | {lived.made} | {lived.kept} | {wrong} |"


if __name__ == "__main__":
    raise SystemExit(main())
