"""Processes of two ordinary users who have a group in common; root alone can start them."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ADA, GRACE, GROUP = 61001, 61002, 61234  # numbers that nobody has
CHECKOUT = Path(__file__).parent.parent


@contextmanager
def shared_place() -> Iterator[Path]:
    """Give a folder of Ada's that everybody may enter; without root the test skips."""
    if os.geteuid() != 0:
        reason = "only root can be two other users"
        (pytest.fail if os.environ.get("COSMOTRON_REQUIRE_SLURM") == "1" else pytest.skip)(reason)
    with tempfile.TemporaryDirectory(prefix="cosmotron-users-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for user in (ADA, GRACE):
            (folder / f"home-{user}").mkdir()
            os.chown(folder / f"home-{user}", user, user)
        (folder / "project").mkdir()
        os.chown(folder / "project", ADA, GROUP)
        yield folder


def becoming(user: int) -> tuple[str, ...]:
    """Return what stands before a command line of one of the two, who finds our Python."""
    become = f'exec setpriv --reuid={user} --regid={user} --groups={user},{GROUP} "$@"'
    setup = "\n".join([*_opened(), "umask 022", become])
    return ("unshare", "--mount", "--propagation", "private", "sh", "-ec", setup, "sh")


def started(
    user: int, folder: Path, words: Sequence[object], **environment: str
) -> "subprocess.Popen[str]":
    """Start a command line as one of the two, whose home is in `folder`."""
    home = folder / f"home-{user}"
    return subprocess.Popen(
        [*becoming(user), *map(str, words)],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "USER": f"user-{user}",
            "TMPDIR": str(home),
            "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'tests'}",
            "OMP_NUM_THREADS": "1",
            **environment,
        },
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _opened() -> Iterator[str]:
    """Yield commands after which Python and the checkout can be read, though root hides them.

    They hold in a view of the file system that no other process has.
    """
    needed = {Path(path).resolve() for path in (sys.prefix, sys.base_prefix, CHECKOUT)}
    hidden: dict[Path, list[Path]] = {}
    for path in sorted(needed):
        above = [each for each in reversed(path.parents) if not each.stat().st_mode & 0o001]
        if above:
            hidden.setdefault(above[0], []).append(path)
    for top, paths in hidden.items():
        for number, path in enumerate(paths):
            yield f"mkdir -p /mnt/kept-{number} && mount --bind {path} /mnt/kept-{number}"
        yield f"mount -t tmpfs -o mode=755 none {top}"
        for number, path in enumerate(paths):
            yield f"mkdir -p {path} && mount --bind /mnt/kept-{number} {path}"
