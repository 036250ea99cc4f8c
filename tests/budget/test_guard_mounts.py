"""The guard on a file system whose locks and caches are each client's own, as NFS's may be.

One folder is mounted twice by bindfs, which forwards no lock and caches names and attributes for a
second: what one mount locks the other does not see, as with two login nodes and `localflock`.
"""

import fcntl
import multiprocessing
import os
import subprocess

import pytest
from test_guard import race, reserved

from pipeline.budget.ledger import Ledger

CACHES = "attr_timeout=1,entry_timeout=1,negative_timeout=1"
TIMES = int(os.environ.get("COSMOTRON_RACES", "100"))


@pytest.fixture
def mounts(tmp_path):
    """Two mounts of one folder."""
    folders = [tmp_path / name for name in ("really", "a", "b")]
    for each in folders:
        each.mkdir()
    really, *mounted = folders
    try:
        for each in mounted:
            words = ["bindfs", "-o", CACHES, really, each]
            subprocess.run(words, check=True, timeout=60, capture_output=True)
        yield mounted
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"bindfs mounts nothing here: {error}")
    finally:
        for each in mounted:
            subprocess.run(["umount", each], check=False, timeout=60, capture_output=True)


def test_two_login_nodes_race_for_the_last_node_hours(mounts):
    with (mounts[0] / "lock").open("w") as ours, (mounts[1] / "lock").open("w") as theirs:
        for each in (ours, theirs):  # flock would let both in
            fcntl.flock(each, fcntl.LOCK_EX | fcntl.LOCK_NB)
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    won = [spawn.Array("i", TIMES) for _ in range(2)]
    racers = [
        spawn.Process(target=race, args=(str(mount), barrier, name, TIMES, mine))
        for mount, name, mine in zip(mounts, "ab", won, strict=True)
    ]
    for each in racers:
        each.start()
    for each in racers:
        each.join(600)
        assert each.exitcode == 0
    assert [a + b for a, b in zip(*won, strict=True)] == [1] * TIMES
    assert [reserved(Ledger(mounts[0] / str(each))) for each in range(TIMES)] == [6.0] * TIMES
