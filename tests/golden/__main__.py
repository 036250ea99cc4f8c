"""Hold our families to the outputs of the authors' own code, an array a line.

Example: python -m tests.golden tests/golden/published/*
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.golden import particlenet
from tests.golden.cases import Case, Row

# By what `case.json` calls the authors' class.
SYSTEMS: dict[str, Callable[[Case], Iterator[Row]]] = {"ParticleNet": particlenet.held}


def main(folders: list[str]) -> int:
    """Print a line for each array of each folder; return 1 if one is out of its tolerance."""
    failed = False
    for folder in folders:
        case = Case(Path(folder))
        held = SYSTEMS.get(case.about.get("peer_class") or "")
        if held is None:
            print(f"{folder}: no family of ours is held to this system yet")
            failed = True
            continue
        for row in held(case):
            failed |= not row.passed
            word, of = "pass" if row.passed else "FAIL", f"of {row.tolerance:.1e}"
            print(f"{word}  {case.path.name}  {row.name:44} {row.difference:.1e} {of}")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
