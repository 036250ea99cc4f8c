"""A disk that loses power: an ext4 image, mounted in a loop, whose journal is stopped.

What was not synced is lost then. Three options make that as hard as ext4 gets: data is not ordered
before the names that lead to it (`data=writeback`), a file that replaces another is not flushed
for programs that forgot to sync (`noauto_da_alloc`), and the journal is written when somebody waits
for it, not every five seconds (`commit`).
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

OPTIONS = "loop,data=writeback,noauto_da_alloc,commit=300"
MEMORY = Path("/dev/shm")
UNMOUNT_SECONDS = 20


class Disk:
    """The mounted file system, in `folder`."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.image, self.folder = image, folder
        folder.mkdir()
        _do("truncate", "--size=256M", str(image))
        _do("mkfs.ext4", "-q", "-F", str(image))
        self.mount()

    def mount(self) -> None:
        """Mount it, as after a start of the node: the journal is replayed."""
        _do("mount", "-o", OPTIONS, str(self.image), str(self.folder))

    def cut(self) -> None:
        """Lose power: from now on nothing reaches the disk."""
        _do("mount", "-o", "remount,abort", str(self.folder))

    def restart(self) -> None:
        """Mount again what reached the disk; nobody may still work there.

        A copy, since a mount namespace that some other test made meanwhile keeps the stopped file
        system alive, and the same image would be mounted as that: read-only.
        """
        self.unmount()
        what_was_reached = self.image.with_suffix(".copy")
        _do("cp", "--sparse=always", str(self.image), str(what_was_reached))
        what_was_reached.replace(self.image)
        self.mount()

    def unmount(self) -> None:
        """Unmount it, when the processes that were killed are gone."""
        deadline = time.monotonic() + UNMOUNT_SECONDS
        while subprocess.run(
            ["umount", str(self.folder)], check=False, capture_output=True
        ).returncode:
            assert time.monotonic() < deadline, f"{self.folder} is in use"
            time.sleep(0.05)


@contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    """Give a disk whose power can be cut, mounted below `folder`.

    Where none can be mounted the test skips; COSMOTRON_REQUIRE_SLURM=1, as CI sets it, forbids
    that.
    """
    give_up = pytest.fail if os.environ.get("COSMOTRON_REQUIRE_SLURM") == "1" else pytest.skip
    image = (MEMORY if MEMORY.is_dir() else folder) / f"cosmotron-disk-{os.getpid()}.ext4"
    try:
        try:
            made = Disk(image, folder / "disk")
        except (OSError, subprocess.CalledProcessError) as error:
            reason = (getattr(error, "stderr", "") or str(error)).strip()
            give_up(f"no disk can be mounted in a loop here, which needs root: {reason}")
        yield made
        made.unmount()
    finally:
        subprocess.run(["umount", "--lazy", str(folder / "disk")], check=False, capture_output=True)
        image.unlink(missing_ok=True)


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
