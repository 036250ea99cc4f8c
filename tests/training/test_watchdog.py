"""A process that gives no sign of life ends itself, even where no thread of Python runs."""

import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.outcome import Exit
from pipeline.run import TaskFolder
from pipeline.training.link import watchdog
from pipeline.writing import read_json

SILENT = """
import ctypes, pathlib, sys, time
from pipeline.run import TaskFolder
from pipeline.training.link import watchdog

watchdog.GRACE_SECONDS = 0.1
watchdog.BACKSTOP_SECONDS = 1.5
folder = TaskFolder(pathlib.Path(sys.argv[1]))
with watchdog.Watchdog(folder, 0, 0.4) as watch:
    for step in range(1, 6):
        time.sleep(0.15)
        watch.beat(step)
    {then}
print("ended by itself")
"""


def silent(folder, then):
    """How a process ends that does `then` after five steps under a watchdog of 0.4 s."""
    command = [sys.executable, "-c", SILENT.replace("{then}", then), str(folder.path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COSMOTRON_LINK", "made.1")
    monkeypatch.setenv("COSMOTRON_JOB_ID", "17")
    return TaskFolder(tmp_path)


def test_silence_is_recorded_and_ends_the_process(folder):
    ended = silent(folder, "time.sleep(60)")
    assert ended.returncode == Exit.HANG
    told = read_json(folder.result)
    assert told["outcome"] == "hang"
    assert "No step for 0.4 s: rank 0 in <module> (<string>:13), after step 5." in told["message"]
    assert "Raise hang_seconds if" in told["message"]
    assert f"rank 0: no step for 0.4 s after step 5: see {folder.stacks(0)}" in ended.stderr
    assert 'File "<string>", line 13 in <module>' in folder.stacks(0).read_text()
    beat = read_json(folder.heartbeat)
    assert (beat["step"], beat["job"], beat["link"]) == (0, "17", "made.1")
    assert time.time() - beat["time"] < 60


LEARNED = (
    SILENT.replace("range(1, 6)", "range(1, 25)")
    .replace("0.4)", "120)")
    .replace(
        "watchdog.GRACE_SECONDS",
        "watchdog.LEAST_SECONDS = 0.5; watchdog.WAIT_SECONDS = 0.05; "
        "watchdog.TIMES = 3.0; watchdog.GRACE_SECONDS",
    )
)


def learned(folder, then):
    """How a process ends that does `then` after 24 steps of 0.15 s, and may be silent for 120 s."""
    command = [sys.executable, "-c", LEARNED.replace("{then}", then), str(folder.path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_step_may_not_take_many_times_as_long_as_those_before(folder):
    """Half an hour of 64 nodes are 32 node-hours."""
    ended = learned(folder, "time.sleep(60)")
    assert ended.returncode == Exit.HANG
    limit = float(read_json(folder.result)["message"].split()[3])
    assert 0.5 <= limit < 10


def test_a_save_may_take_as_long_as_is_allowed(folder):
    ended = learned(folder, "watch.expect_long(); time.sleep(4); watch.beat()")
    assert ended.returncode == 0
    assert ended.stdout == "ended by itself\n"


def test_the_first_steps_compile_and_say_nothing_of_the_others(folder):
    watch = watchdog.Watchdog(folder, 1, 1800)
    for step in range(1, watchdog.STEPS_KNOWN):
        watch.beat(step)
        assert watch.limit == 1800
    watch.beat(watchdog.STEPS_KNOWN)
    assert watch.limit == watchdog.LEAST_SECONDS
    watch.expect_long()
    watch.beat()
    assert watch.limit == 1800
    watch.beat(watchdog.STEPS_KNOWN + 1)
    assert watch.limit == watchdog.LEAST_SECONDS


def test_an_extension_that_holds_the_lock_does_not_defeat_it(folder):
    ended = silent(folder, "ctypes.PyDLL(None).sleep(60)")
    assert ended.returncode == -signal.SIGUSR2
    assert 'File "<string>", line 13 in <module>' in ended.stderr


@pytest.mark.parametrize("then", ["time.sleep(0.3)", "ctypes.PyDLL(None).usleep(300_000)"])
def test_a_process_that_was_stopped_did_not_hang(folder, then):
    """As one of a suspended job: it was stopped for longer than it may be silent."""
    command = [sys.executable, "-c", SILENT.replace("{then}", then), str(folder.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as process:
        until = time.monotonic() + 30
        while not folder.heartbeat.exists() and time.monotonic() < until:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(3.0)
        os.killpg(process.pid, signal.SIGCONT)
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "ended by itself\n")
    assert not folder.result.exists()


def test_signals_to_a_whole_step_leave_the_backstop_alone(folder):
    then = "import os, signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)"
    then += "; time.sleep(0.2); os.killpg(0, signal.SIGUSR1); ctypes.PyDLL(None).sleep(60)"
    command = [sys.executable, "-c", SILENT.replace("{then}", then), str(folder.path)]
    ended = subprocess.run(command, timeout=60, check=False, process_group=0)
    assert ended.returncode == -signal.SIGUSR2


def test_what_another_process_recorded_stays(folder):
    folder.fail("out_of_memory", "There is none left.")
    assert silent(folder, "time.sleep(60)").returncode == Exit.HANG
    assert read_json(folder.result)["outcome"] == "out_of_memory"


def test_many_ranks_are_counted_and_those_of_another_link_are_not(folder):
    folder.logs.mkdir()
    for rank in range(1, 12):
        folder.stacks(rank).write_text(f"link made.1\nrank {rank} in wait (x.py:3), after step 5\n")
    folder.stacks(12).write_text("link made.0\nrank 12 in wait (x.py:3), after step 5\n")
    silent(folder, "time.sleep(60)")
    message = read_json(folder.result)["message"]
    assert "rank 11 in wait (x.py:3), after step 5" in message
    assert "; and 4 more. The stacks" in message
    assert "rank 12" not in message


def test_a_process_that_ends_in_time_is_left_alone(folder):
    ended = silent(folder, "pass")
    assert (ended.returncode, ended.stdout) == (0, "ended by itself\n")
    assert not folder.result.exists()
