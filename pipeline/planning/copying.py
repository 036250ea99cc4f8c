"""The commands that copy files of a run to another machine: rsync, or Globus.

What is at the destination is never overwritten; `transfer --check` says where it differs. Globus as
in docs.globus.org/cli/reference/transfer: `--batch FILE` has a line "SOURCE DESTINATION" for each
file, relative to the paths after the endpoints; `--sync-level exists` sends what is not there; it
verifies checksums by itself.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from pipeline.writing import write_text

Command = list[str]
RSYNC = ("rsync", "--archive", "--ignore-existing", "--partial-dir=.rsync-partial")


def by_rsync(run: Path, lists: Sequence[Path], to: str) -> list[Command]:
    """Return the commands that copy the files in `lists`, one list after the other, to `to`.

    `to` is a run folder: a path, or `host:path`.
    """
    host, colon, path = to.partition(":")
    make = ["ssh", host, f"mkdir -p {shlex.quote(path)}"] if colon else ["mkdir", "-p", to]
    return [make, *([*RSYNC, f"--files-from={each}", f"{run}/", f"{to}/"] for each in lists)]


def beside(paths: Sequence[Path], to: str) -> list[Command]:
    """Return the commands that copy stores and other `paths` into the folder above `to`."""
    host, colon, folder = to.rpartition(":")
    above = f"{host}{colon}{Path(folder).parent}/"
    return [[*RSYNC, str(path), above] for path in paths]


def by_globus(run: Path, lists: Sequence[Path], source: str, to: str) -> list[Command]:
    """Return the command that lets Globus copy all files from the collection `source`.

    `to` is `COLLECTION:path`. One task copies in any order, so the copy is used after its check.
    """
    names = [name for each in lists for name in each.read_text().splitlines()]
    batch = lists[0].with_name("globus.txt")
    write_text(batch, "".join(f"{shlex.join([name, name])}\n" for name in names))
    options = ("--batch", str(batch), "--sync-level", "exists", "--preserve-timestamp")
    label = f"cosmotron {run.name}"
    return [["globus", "transfer", f"{source}:{run}", to, *options, "--label", label]]
