"""Ends a process in which no thread of Python runs: `python backstop.py PID SECONDS`.

A C extension that hangs with the interpreter's lock stops the watchdog's thread too. This is a
small process beside the training: it reads a byte for each beat from its standard input, and ends
the training after `SECONDS` without one. It counts short waits and reads no clock, so that the time
for which both were stopped (a suspended job) is no silence. A timer in the training itself, such as
`faulthandler.dump_traceback_later`, would go off as soon as a suspended job is resumed.

It is run as a file, so that it imports nothing of the pipeline.
"""

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

SIGNAL = signal.SIGUSR2  # the training writes its stacks at it, and ends
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # Slurm sends them to all of a step
KILL_SECONDS = 10.0
WAIT_SECONDS = 1.0
STDIN = 0


def start(seconds: float) -> "subprocess.Popen[bytes]":
    """Start it for this process; each byte written to its `stdin` is a beat."""
    command = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(seconds)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0)


def silent_for(seconds: float) -> bool:
    """Wait until there was no beat for `seconds`; False if the training has ended before."""
    wait = min(WAIT_SECONDS, seconds / 10)
    silent = 0.0
    while silent < seconds:
        ready, _, _ = select.select([STDIN], [], [], wait)
        if not ready:
            silent += wait
        elif os.read(STDIN, 4096):
            silent = 0.0
        else:
            return False
    return True


def main(pid: int, seconds: float) -> None:
    """Watch the process `pid`, which started this one."""
    for each in IGNORED:
        signal.signal(each, signal.SIG_IGN)
    if not silent_for(seconds) or os.getppid() != pid:
        return
    with suppress(ProcessLookupError):
        os.kill(pid, SIGNAL)
        for _ in range(100):
            time.sleep(KILL_SECONDS / 100)
            if os.getppid() != pid:
                return
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
