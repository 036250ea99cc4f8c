"""kill -9 of the controller of `cosmotron stage` or of a worker, at 20 random moments."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from staged_alone import children, command, ended, files_of, stage, write_sources

from pipeline.outcome import Exit

pytestmark = pytest.mark.slow

FILES, SIZES, OPTIONS = 8, (30,) * 40, ("--events-per-shard", 8, "--workers", 2)
KILLS, LONGEST_SECONDS, MOST_IN_A_STORE = 20, 2.0, 7
SEED = 20260101


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Small files; each is five pieces."""
    return write_sources(tmp_path_factory.mktemp("raw"), FILES, SIZES)


@pytest.fixture(scope="module")
def uninterrupted(
    sources: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    store = tmp_path_factory.mktemp("uninterrupted") / "events.zarr"
    finish(store, sources)
    return files_of(store)


def finish(store: Path, sources: list[Path]) -> None:
    told = stage(store, *sources, *OPTIONS)
    assert told.returncode == 0, told.stderr


def controller(store: Path, sources: list[Path]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(store, *sources, *OPTIONS),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kills(store: Path, sources: list[Path], chance: random.Random) -> Iterator[str]:
    """Start the command again and again; kill it, or a worker of it, at a random moment of each.

    Yields who was killed; ends when a start finishes before its moment comes.
    """
    while True:
        victim = chance.choice(("controller", "worker"))
        moment = time.monotonic() + chance.uniform(0.1, LONGEST_SECONDS)
        with controller(store, sources) as started:
            while time.monotonic() < moment and started.poll() is None:
                time.sleep(0.005)
            found = children(started.pid) if victim == "worker" else []
            while victim == "worker" and not found and started.poll() is None:
                found = children(started.pid)
            if started.poll() is not None:
                assert started.returncode == 0, started.stderr.read()
                return
            os.kill(chance.choice(found) if found else started.pid, signal.SIGKILL)
            _, told = started.communicate(timeout=60)
        if victim == "worker":
            assert started.returncode == Exit.FAILED, told
            assert "was killed (SIGKILL)" in told
            assert "The same command goes on from here" in " ".join(told.split())
            assert "Traceback" not in told
        else:
            assert started.returncode == -signal.SIGKILL
        yield victim


def test_after_20_kills_at_random_moments_the_stores_are_the_uninterrupted_one(
    sources: list[Path], uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    killed: list[str] = []
    while len(killed) < KILLS:
        store = tmp_path / f"{len(killed):02d}" / "events.zarr"
        for count, victim in enumerate(kills(store, sources, chance), 1):
            killed.append(victim)
            if count == MOST_IN_A_STORE or len(killed) == KILLS:
                break
        finish(store, sources)
        assert files_of(store) == uninterrupted
        verified = ended([sys.executable, "-m", "pipeline", "data", "verify", store])
        assert verified.returncode == 0, verified.stderr
    assert set(killed) == {"controller", "worker"}
