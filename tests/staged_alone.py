"""The command `cosmotron stage` in processes of its own, as tests of several rooms start it."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SIZES = (20, 31, 0, 25, 40, 22, 35, 24)
SMALL = ("--events-per-shard", "3")


def write_sources(folder: Path, count: int, sizes: Sequence[int] = SIZES) -> list[Path]:
    """Write `count` small sPHENIX files of events of `sizes`, each three pieces of `SMALL`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"spacepoints_{number:03d}.npz" for number in range(count)]
    for number, path in enumerate(paths):
        points = np.random.default_rng(number).uniform(20, 50, (sum(sizes), 4))
        np.savez(path, data=points.astype(np.float32), size=np.array(sizes))
    return paths


def command(store: Path, *words: object) -> list[str]:
    """Return the command line that stages into `store`."""
    return [sys.executable, "-m", "pipeline", "stage", str(store), *map(str, words)]


def ended(
    words: Sequence[object], seconds: float = 300, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command line to its end."""
    return subprocess.run(
        list(map(str, words)),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        env={**os.environ, **environment},
    )


def stage(store: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Stage into `store` to the end."""
    return ended(command(store, *words))


def files_of(store: Path) -> dict[str, bytes]:
    """Return the content of every file of a store, hidden ones too."""
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file()
    }


def words_of(told: subprocess.CompletedProcess[str]) -> str:
    """Return all that was printed, without line breaks."""
    return " ".join((told.stdout + told.stderr).split())


def children(parent: int) -> list[int]:
    """Return the living children of process `parent`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended since
            continue
        if int(fields[1]) == parent and fields[0] not in "ZX":
            found.append(int(path.parent.name))
    return found
