"""A campaign that one member of a group begins, and another drives to its end."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from two_users import ADA, GRACE, GROUP, shared_place, started
from whole_campaign import TINY, command, fingerprint, of_modes, with_modes

pytest.importorskip("deepspeed")

DEADLINE_SECONDS = 300


def owners(folder, pattern):
    """Whose the files and folders of a pattern are."""
    return {path.stat().st_uid for path in folder.glob(pattern)}


@pytest.mark.slow
def test_the_second_user_drives_on_what_the_first_began(uninterrupted):
    with shared_place() as place:
        root = place / "project" / "runs"
        campaign = with_modes(place, "frozen")
        words = [*command(root, campaign=campaign), "--group", GROUP]
        first = started(ADA, place, words)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not list(root.glob("tiny/pretrain/*/checkpoints/step-*[0-9]")):
            assert first.poll() is None, first.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        first.send_signal(signal.SIGINT)
        told, _ = first.communicate(timeout=DEADLINE_SECONDS)
        assert first.returncode == 130, told
        second = started(GRACE, place, words)
        told, _ = second.communicate(timeout=DEADLINE_SECONDS)
        assert second.returncode == 0, told
        found, run = fingerprint(root), root / "tiny"
        assert found == of_modes(fingerprint(uninterrupted), "frozen")
        assert owners(run, "stage/*/DONE") == {ADA}
        assert owners(run, "evaluate/*/DONE") == {GRACE}
        assert owners(run, "code/*") == {ADA, GRACE}
        assert {path.stat().st_gid for path in run.rglob("*")} == {GROUP}
        mine = [path for path in run.rglob("*") if path.stat().st_mode & 0o040 == 0]
        assert all("certificates" in path.parts for path in mine)  # the keys of Parsl's sockets


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["status", "budget", "report --format json", "plan"])
def test_who_may_only_read_sees_how_it_stands(verb, uninterrupted):
    with shared_place() as place:
        subprocess.run(["cp", "-a", uninterrupted, place / "runs"], check=True)
        campaign = shutil.copy(TINY, place)
        words = [sys.executable, "-m", "pipeline", verb.split()[0], campaign, *verb.split()[1:]]
        words += ["--site", "local", "--root", place / "runs"]
        told, _ = (reader := started(GRACE, place, words)).communicate(timeout=DEADLINE_SECONDS)
        assert reader.returncode == 0, told
        assert {path.stat().st_uid for path in (place / "runs").rglob("*")} == {os.geteuid()}
