"""`python -m tests.damage`: bit flips and truncations of every format, staged by the command.

Prints a table in Markdown; ends with 1 if wrong numbers entered a store from a format that has a
checksum, or an end was without a clear message.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parent.parent))

from damage.once import DAMAGES, outcome, shards_of
from damage.samples import FORMATS

BY_VOXEL = ("sphenix", "sphenix-positions", "star")  # small files give no bins


def by_command(path: Path, store: Path, experiment: str) -> tuple[int, str]:
    """Stage by the command, without neighbours; return its exit code and what it printed."""
    shutil.rmtree(store.with_suffix(".staging"), ignore_errors=True)
    shutil.rmtree(store, ignore_errors=True)
    verb = [sys.executable, "-m", "pipeline", "stage", store, path, "--experiment", experiment]
    words = [*verb, "--workers", 1, *(("--order", "none") if experiment in BY_VOXEL else ())]
    told = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    return told.returncode, told.stdout + told.stderr


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=400)
    parser.add_argument("--truncations", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    counts = dict(zip(DAMAGES, (asked.flips, asked.truncations), strict=True))
    rng = np.random.default_rng(asked.seed)
    found: dict[tuple[str, str], Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        whole = {name: _whole(Path(folder) / str(n), name) for n, name in enumerate(FORMATS)}
        for damage, count in counts.items():
            for number in track(range(count), description=damage, console=None):
                name = list(FORMATS)[number % len(FORMATS)]
                path, content, shards = whole[name]
                path.write_bytes(DAMAGES[damage](content, rng))
                store = path.parent / "damaged.zarr"
                ended = outcome(by_command, path, store, FORMATS[name].experiment, shards)
                found.setdefault((name, damage), Counter())[ended] += 1
                if ended in ("wrong", "changed"):
                    print(f"{name}, {damage}: {ended}", file=sys.stderr)
                path.write_bytes(content)
    return _table(found)


def _whole(folder: Path, name: str) -> tuple[Path, bytes, object]:
    """Return a file of the format `name`, its content, and the shards that it makes."""
    folder.mkdir()
    path = FORMATS[name].write(folder)
    store = folder / "whole.zarr"
    code, said = by_command(path, store, FORMATS[name].experiment)
    if code:
        raise SystemExit(said)
    return path, path.read_bytes(), shards_of(store)


def _table(found: dict[tuple[str, str], Counter[str]]) -> int:
    """Print what was found; return the exit code."""
    print("| format | checksum | damage | cases | told | no difference | wrong numbers | unclear |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    is_bad = False
    for (name, damage), ends in found.items():
        total, checksum = sum(ends.values()), FORMATS[name].checksum
        told, equal, changed, wrong = (ends[end] for end in ("told", "equal", "changed", "wrong"))
        share = f"{changed} ({changed / total:.0%})" if changed else "0"
        print(
            f"| {name} | {checksum or 'none'} | {damage} | {total} | {told} | {equal} | {share} "
            f"| {wrong} |"
        )
        is_bad |= wrong > 0 or (changed > 0 and bool(checksum) and FORMATS[name].of_all)
    return int(is_bad)


if __name__ == "__main__":
    raise SystemExit(main())
