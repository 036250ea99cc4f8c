"""A controller that was stopped, and that another host took over, ends when it goes on."""

import os
import signal
import subprocess
import time

import pytest
from whole_campaign import command

from pipeline.claims import Detector, detecting, newest
from pipeline.outcome import Exit
from pipeline.run import Run

ELSEWHERE = ("unshare", "--uts", "sh", "-c", 'hostname login07 && exec "$@"', "sh")
DEADLINE_SECONDS = 200


def wait_for(condition, *processes):
    until = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        for each in processes:
            assert each.poll() is None, each.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
def test_a_controller_that_was_stopped_and_goes_on_leaves_everything_to_its_successor(
    tmp_path, monkeypatch
):
    monkeypatch.setenv(detecting.VARIABLE, "2")
    claim = Run(tmp_path, "tiny").claim
    piped = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*ELSEWHERE, *command(tmp_path)], **piped) as first:
        wait_for(lambda: newest(claim) is not None, first)
        os.kill(first.pid, signal.SIGSTOP)
        with subprocess.Popen(command(tmp_path), **piped) as second:
            wait_for(lambda: newest(claim).number == 2, second)
            os.kill(first.pid, signal.SIGCONT)
            told = first.communicate(timeout=DEADLINE_SECONDS)[1]
            assert first.returncode == Exit.SUPERSEDED, told
            detector = Detector(claim)
            assert detector() == "held"
            assert detector.seen.number == 2
            assert detector.holder.pid == second.pid
            second.send_signal(signal.SIGINT)
            assert second.wait(DEADLINE_SECONDS) == 130
    assert "took over while this one was silent" in told
    assert "Traceback" not in told
