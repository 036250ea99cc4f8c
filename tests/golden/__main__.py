"""Hold our families to the outputs of the authors' own code, an array a line.

Example: python -m tests.golden tests/golden/published/*
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import tests.golden
from tests.golden.cases import Case, Row

APART = ("__main__", "cases", "laws")


def held(case: Case) -> Iterator[Row] | None:
    """Return how each array of `case` compares; None where no module knows its system.

    A module of this folder knows the systems for which its `knows(case)` is true.
    """
    for each in pkgutil.iter_modules(tests.golden.__path__):
        if each.name not in APART:
            module = importlib.import_module(f"tests.golden.{each.name}")
            if module.knows(case):
                rows: Iterator[Row] = module.held(case)
                return rows
    return None


def main(folders: list[str]) -> int:
    """Print a line for each array of each folder; return 1 if one is out of its tolerance."""
    failed = False
    for folder in folders:
        case = Case(Path(folder))
        rows = held(case)
        if rows is None:
            print(f"{folder}: no family of ours is held to this system yet")
            failed = True
            continue
        for row in rows:
            failed |= not row.passed
            word, of = "pass" if row.passed else "FAIL", f"of {row.tolerance:.1e}"
            print(f"{word}  {case.path.name}  {row.name:44} {row.difference:.1e} {of}")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
