"""The command `cosmotron stage` in processes of its own, as tests of this room start it."""

import os
import subprocess
import sys
from pathlib import Path

from made_events import events

from pipeline.data.readers.sphenix_npz import write_npz

SIZES = [20, 31, 0, 25, 40, 22, 35, 24]
SMALL = ("--events-per-shard", "3")


def write_sources(folder: Path, count: int, *, labelled: bool = True) -> list[Path]:
    """Write `count` small sPHENIX files; each is three pieces of `SMALL`."""
    paths = [folder / f"spacepoints_{number:03d}.npz" for number in range(count)]
    for number, path in enumerate(paths):
        write_npz(path, events(SIZES, seed=number), labelled=labelled)
    return paths


def command(store: Path, *words: object) -> list[str]:
    """Return the command line that stages into `store`."""
    return [sys.executable, "-m", "pipeline", "stage", str(store), *map(str, words)]


def stage(store: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Stage into `store` to the end."""
    return subprocess.run(
        command(store, *words),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


def files_of(store: Path) -> dict[str, bytes]:
    """Return the content of every file of a store, hidden ones too."""
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file()
    }


def words_of(ended: subprocess.CompletedProcess[str]) -> str:
    """Return all that was printed, without line breaks."""
    return " ".join((ended.stdout + ended.stderr).split())
