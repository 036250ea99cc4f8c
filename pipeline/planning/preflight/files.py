"""Checks of the run folder's file system: locks, hard links, space, clock, quota, purge."""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pipeline.planning.misuse import file_system
from pipeline.planning.preflight.check import Check, failed, ok, printed, skipped, warning
from pipeline.site import Site

LOCK_SECONDS = 30
LEAST_FREE_SHARE = 0.05
LEAST_FREE_INODES = 10_000
MOST_SKEW_SECONDS = 5.0
PURGE_NOTICE_DAYS = 7
DAY_SECONDS = 86400
MOST_FILES = 100_000  # looked at for a purge: a walk through millions would take hours

# Exits with 3 if somebody else holds the lock, as it should find.
TRY_LOCK = """\
import fcntl, sys
with open(sys.argv[1]) as stream:
    try: fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError: sys.exit(3)
"""


def files(site: Site, root: Path) -> Iterator[Check]:
    """Check the folder for runs of `site`; the probe file is removed again."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f".cosmotron-check-{os.getpid()}"
        probe.write_text("")
    except OSError as error:
        yield failed("run folder", f"{root}: {error.strerror}", "Choose another with --root.")
        return
    try:
        yield _run_folder(site, root)
        yield _locks(probe)
        yield _links(probe)
        yield _clock(probe)
    finally:
        probe.unlink()
    yield _room(root)
    yield _quota(site, root)
    yield _purge(site, root)


def _run_folder(site: Site, root: Path) -> Check:
    found = file_system(site, root.absolute())
    if found is None:
        if not site.file_systems:
            return skipped("run folder", f"{root}: {site.name} declares no file systems")
        known = ", ".join(f"{name} ({each.root})" for name, each in site.file_systems.items())
        return warning(
            "run folder",
            f"{root} is on none that {site.name} declares: {known}",
            "Choose a folder there with --root, or declare this one in your own site file.",
        )
    name, there = found
    if there.for_runs:
        return ok("run folder", f"{root}, on {name}")
    return failed(
        "run folder", f"{root}, on {name}, which is not for runs", f"--root {site.scratch}"
    )


def _locks(probe: Path) -> Check:
    """Hold a lock, and let another process try to take it."""
    todo = "Parsl, HDF5 and SQLite need locks. Choose another file system with --root."
    with probe.open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            other = subprocess.run(
                [sys.executable, "-c", TRY_LOCK, str(probe)], timeout=LOCK_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return failed("locks", f"flock fails: {error}", todo)
    if other.returncode != 3:
        return failed("locks", "flock lets two processes in at once", todo)
    return ok("locks", "flock excludes other processes")


def _links(probe: Path) -> Check:
    """Try what the ledger and claims rely on: a hard link can be made only once."""
    second = probe.with_suffix(".link")
    todo = "The ledger needs hard links. Choose another file system with --root."
    try:
        os.link(probe, second)
        try:
            os.link(probe, second)
        except FileExistsError:
            return ok("hard links", "made once")
        return failed("hard links", "the same name was linked twice", todo)
    except OSError as error:
        return failed("hard links", str(error.strerror), todo)
    finally:
        second.unlink(missing_ok=True)


def _clock(probe: Path) -> Check:
    os.utime(probe)  # sets the time by this machine's clock,
    probe.write_text("x")  # and this by the file system's
    skew = probe.stat().st_mtime - time.time()
    found = f"the file system's is {skew:+.1f} s from this machine's"
    if abs(skew) <= MOST_SKEW_SECONDS:
        return ok("clock", found)
    return warning("clock", found, "Heartbeats depend on it: report it to the site's support.")


def _room(root: Path) -> Check:
    usage, inodes = shutil.disk_usage(root), os.statvfs(root).f_favail
    found = f"{usage.free / 2**30:,.0f} GiB of {usage.total / 2**30:,.0f} GiB, {inodes:,} files"
    if usage.free < LEAST_FREE_SHARE * usage.total or 0 < inodes < LEAST_FREE_INODES:
        return warning(
            "free space", found, "Free some space, or choose another folder with --root."
        )
    return ok("free space", found)


def _quota(site: Site, root: Path) -> Check:
    found = file_system(site, root.absolute())
    if found is None or not found[1].quota_command:
        return skipped("quota", f"{site.name} declares no command that prints it for {root}")
    command = found[1].quota_command
    code, words = printed(["bash", "-lc", command])
    if code:
        return warning("quota", words, f"`{command}` failed: look at your quota yourself.")
    return ok("quota", f"{command}:\n{words}")


def _purge(site: Site, root: Path) -> Check:
    found = file_system(site, root.absolute())
    days = found[1].purge_days if found is not None else site.purge_days
    if days is None:
        return skipped("purge", "nothing is purged here")
    now = time.time()
    limit = (days - PURGE_NOTICE_DAYS) * DAY_SECONDS
    looked = islice(_stats(root), MOST_FILES)
    old = [path for path, stat in looked if now - max(stat.st_atime, stat.st_mtime) > limit]
    if not old:
        return ok("purge", f"no file is purged within {PURGE_NOTICE_DAYS} days")
    return warning(
        "purge",
        f"{len(old):,} file(s) are purged within {PURGE_NOTICE_DAYS} days, such as {old[0]}",
        "Copy the files that you need to another file system.",
    )


def _stats(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the files below `root`; a file that disappears meanwhile is left out."""
    for path in root.rglob("*"):
        try:
            stat = path.lstat()
        except FileNotFoundError:
            continue
        yield path, stat
