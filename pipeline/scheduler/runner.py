"""The process that runs one job where there is no scheduler: `python -m pipeline.scheduler.runner`.

It runs in its own session and outlives the controller. Like Slurm it waits for devices, signals the
job to save before its walltime, ends it at its walltime, and leaves no process behind.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from pipeline.claims import Holder
from pipeline.job import State
from pipeline.scheduler import record as records
from pipeline.scheduler import slots
from pipeline.scheduler.record import Record

AFTER_POLL_SECONDS = 0.5
KILL_WAIT_SECONDS = 30.0  # Slurm's default KillWait
POLL_SECONDS = 0.05


class Cancelled(BaseException):
    """TERM arrived: the job is cancelled."""


def main(path: Path) -> None:
    """Run the job of the record `path`, and record its end."""
    signal.signal(signal.SIGTERM, _cancel)
    record = records.read(path)
    if record is None:
        message = f"{path}: no such record. Jobs are started by `cosmotron run`."
        raise SystemExit(message)
    try:
        record = record.model_copy(update={"runner": Holder.of(os.getpid())})
        records.write(path, record)
        while record.after is not None and not records.is_over(record.after):
            time.sleep(AFTER_POLL_SECONDS)
        folder = path.parent.parent / "slots"
        with slots.held(folder, devices=record.devices, of=record.devices_here):
            record = record.model_copy(update={"start": int(time.time())})
            records.write(path, record)
            record = run(record)
    except Cancelled:
        record = record.over(State.CANCELLED)
    records.write(path, record)


def run(record: Record, kill_wait_seconds: float = KILL_WAIT_SECONDS) -> Record:
    """Run the script of `record` to its end and return the record with it.

    There is an exit code where the script ended by itself.
    """
    # Should this process be killed, the kernel sends the script TERM: it saves and ends.
    command = ["setpriv", "--pdeathsig", "TERM", "bash", str(record.script)]
    script = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    try:
        ended = _ends_in_time(script, record)
        state = None if ended else State.TIMEOUT
    except Cancelled:
        state = State.CANCELLED
    if state is not None:
        script.terminate()
        _ends(script, kill_wait_seconds)
    with suppress(ProcessLookupError):
        os.killpg(script.pid, signal.SIGKILL)
    code = script.wait()
    if state is not None:
        return record.over(state)
    return record.over(State.FAILED if code else State.COMPLETED, code if code >= 0 else 128 - code)


def _ends_in_time(script: "subprocess.Popen[bytes]", record: Record) -> bool:
    """Return whether `script` ends within its walltime; USR1 warns it shortly before."""
    lead = record.signal_lead_seconds
    if _ends(script, record.walltime_seconds - lead):
        return True
    script.send_signal(signal.SIGUSR1)
    return _ends(script, lead)


def _ends(script: "subprocess.Popen[bytes]", within_seconds: float) -> bool:
    """Return whether `script` ends within that time."""
    deadline = time.monotonic() + within_seconds
    while not _is_over(script):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _is_over(script: "subprocess.Popen[bytes]") -> bool:
    """Return whether `script` has ended; a TERM waits until that is known.

    What it raises in the midst of a poll would leave the lock of Popen taken for ever.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        return script.poll() is not None
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _cancel(number: int, frame: FrameType | None) -> None:
    """Interrupt the current wait; a second TERM changes nothing."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Cancelled


if __name__ == "__main__":
    main(Path(sys.argv[1]))
