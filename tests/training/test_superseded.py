"""Trainings of one task on two hosts: who was stopped for too long ends and touches nothing."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from ranks import Ranks, pretraining, result, run, steps

from pipeline.claims import Holder, claimed, detecting
from pipeline.claims.files import Claimant
from pipeline.outcome import Exit
from pipeline.training.engine.engine import weights_hash
from pipeline.training.weights import WEIGHTS, load

SILENT = "2"


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setenv(detecting.VARIABLE, SILENT)


def content_of(folder):
    """The hash of each file of a task but its log."""
    files = [path for path in folder.path.rglob("*") if path.is_file() and path.name != "log.txt"]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def world():
    """The environment of a process that is a world of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    alone = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "1", "RANK": "0"}
    return os.environ | alone | {"LOCAL_RANK": "0"}


def test_a_training_that_another_host_has_taken_over_ends_and_touches_nothing(store, tmp_path):
    folder = pretraining(tmp_path, store, events_seen=4000)
    link = Ranks(folder)
    link.wait_for_step(12)
    link.send(signal.SIGSTOP)
    claimant = Claimant("another", Holder("login07", 7, 7), float(SILENT))
    (folder.claim / "00000002.json").write_text(json.dumps(asdict(claimant)))
    before = content_of(folder)
    time.sleep(float(SILENT) / 2)
    link.send(signal.SIGCONT)
    assert link.end() == Exit.SUPERSEDED
    assert content_of(folder) == before
    told = (tmp_path / "log.txt").read_text()
    assert "another process has taken over" in told
    assert "Traceback" not in told


def test_a_training_of_another_host_that_works_is_left_alone(store, tmp_path, monkeypatch):
    folder = pretraining(tmp_path, store)
    monkeypatch.setattr(Holder, "of", lambda _: Holder("login07", 4711, 1))
    with claimed(folder.claim):
        assert run(folder, size=1) == Exit.BUSY
    assert "process 4711 on login07 is at work here" in (tmp_path / "log.txt").read_text()
    assert not folder.result.exists()


@pytest.mark.slow
def test_of_two_hosts_one_trains_at_a_time(store, tmp_path):
    """The first is stopped, the second takes over and finishes, the first goes on."""
    folder = pretraining(tmp_path, store, devices=1, events_seen=400, checkpoint_events=8)
    program = [sys.executable, "-m", "pipeline.training.programs.pretrain", str(tmp_path)]
    elsewhere = ["unshare", "--uts", "sh", "-c", 'hostname nid07 && exec "$@"', "sh"]
    with subprocess.Popen(
        [*elsewhere, *program], stderr=subprocess.PIPE, text=True, env=world()
    ) as first:
        while len(steps(folder)) < 4:
            assert first.poll() is None, first.stderr.read()
            time.sleep(0.002)
        os.kill(first.pid, signal.SIGSTOP)
        before = len(steps(folder))
        subprocess.run(program, check=True, env=world())
        product = (folder.path / WEIGHTS).read_bytes()
        os.kill(first.pid, signal.SIGCONT)
        told = first.communicate(timeout=120)[1]
    assert before < 100
    assert first.returncode == Exit.SUPERSEDED, told
    assert steps(folder) == list(range(1, 101))
    assert (folder.path / WEIGHTS).read_bytes() == product
    assert result(folder)["weights_sha256"] == weights_hash(load(folder.path / WEIGHTS))
