"""A second user on the test bed: known to the system and to Slurm; she finds our Python in jobs."""

import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from two_users import GRACE, GROUP

NAME, GROUP_NAME = "cosmotron-grace", "cosmotron-both"
ACCOUNTS = "m4722,m4722_g,nph000"


@contextmanager
def admitted(place: Path) -> Iterator[None]:
    """Let her submit jobs, and reach `place` in them, until this ends."""
    with ExitStack() as undo:
        for folder in {
            *_closed(Path(sys.base_prefix)),
            *_closed(Path(sys.prefix)),
            *_closed(place),
        }:
            mode = stat.S_IMODE(folder.stat().st_mode)
            folder.chmod(mode | 0o011)
            undo.callback(folder.chmod, mode)
        _do("groupadd", "--force", "--gid", GROUP, GROUP_NAME)
        undo.callback(_do, "groupdel", GROUP_NAME)
        new = ("--uid", GRACE, "--user-group", "--groups", GROUP_NAME, "--no-create-home")
        _do("useradd", *new, NAME)
        undo.callback(_do, "userdel", NAME)
        _do("sacctmgr", "-i", "add", "user", NAME, f"Account={ACCOUNTS}")
        undo.callback(_do, "sacctmgr", "-i", "delete", "user", NAME)
        queues = "QOS=normal,regular,debug,premium,preempt,overrun,bins"
        change = ("modify", "user", "where", f"user={NAME}", "set", queues, "DefaultQOS=regular")
        _do("sacctmgr", "-i", *change)
        yield


def _closed(path: Path) -> set[Path]:
    """Return the folders on the way to `path` that others may not pass."""
    on_the_way = [path.resolve(), *path.resolve().parents]
    return {each for each in on_the_way if each.is_dir() and not each.stat().st_mode & 0o001}


def _do(*words: object) -> None:
    subprocess.run([*map(str, words)], check=True, capture_output=True, text=True)
