"""Faults of whole machines: hosts that stop, crash, or have another time; records that vanish.

A second host is this one under another name (`unshare --uts`): its processes cannot be looked up
from the first one, so that both judge each other by what they write alone.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pipeline import claims
from soak.bed import Bed, resume, slurm

STOP_SECONDS = 180  # longer than a claim may be silent, and than a pilot may be
SKEWS = (600.0, -600.0)
SECOND_HOST_SECONDS = 15
WAIT_SECONDS = 600


def processes(words: Iterable[str]) -> list[int]:
    """Return the ids of living processes whose command line has each of `words`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if all(word in line for word in words) and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to processes, some of which may be gone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def stopped(words: Iterable[str]) -> list[int]:
    """Stop the processes that `words` name for three minutes, then let them go on; return them."""
    pids = processes(words)
    send(pids, signal.SIGSTOP)
    try:
        time.sleep(STOP_SECONDS if pids else 0)
    finally:
        send(pids, signal.SIGCONT)
    return pids


def stop_training(bed: Bed, controller: "subprocess.Popen[str]") -> str | None:
    """Stop the processes of a running training for three minutes."""
    if bed.any_job("pretrain", seconds=5.0) is None:
        return None
    pids = stopped(["pipeline.training.programs.pretrain", str(bed.folder)])
    return f"{len(pids)} processes of a training stopped" if pids else None


def stop_pilot(bed: Bed, controller: "subprocess.Popen[str]") -> str | None:
    """Stop the processes of all pilots for three minutes."""
    if bed.any_job("pilot", seconds=5.0) is None:
        return None
    pids = stopped(["process_worker_pool", str(bed.folder)])
    return f"{len(pids)} processes of pilots stopped" if pids else None


def kill_pilot(bed: Bed, controller: "subprocess.Popen[str]") -> str | None:
    """Kill the processes of a pilot, so that its job fails."""
    found = bed.any_job("pilot", seconds=5.0)
    pids = processes(["process_worker_pool", str(bed.folder)])
    if found is None or not pids:
        return None
    send(pids, signal.SIGKILL)
    return f"{len(pids)} processes of pilot {found[0]} killed"


def second_host(bed: Bed, controller: "subprocess.Popen[str]") -> str | None:
    """Stop the controller until one on another host has taken over; let both go on for a while.

    The first one has to end by itself. Then the other host dies, and somebody types the command on
    the first one again.
    """
    if controller.poll() is not None:
        time.sleep(1)
        return None
    claim = bed.folder / bed.name / "controller"
    before = claims.newest(claim)
    if before is None or before.is_over:
        time.sleep(1)
        return None
    controller.send_signal(signal.SIGSTOP)
    command = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere; exec "$@"', "sh"]
    with bed.log.open("a") as log:
        other = subprocess.Popen(
            [*command, *map(str, controller.args)],  # type: ignore[union-attr] # a list, as given
            env=bed.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            took_over = _waited(lambda: _number(claim) > before.number, other)
            controller.send_signal(signal.SIGCONT)
            ended = _waited(lambda: controller.poll() is not None, other) if took_over else False
            time.sleep(SECOND_HOST_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                controller.send_signal(signal.SIGCONT)
            with suppress(ProcessLookupError):
                os.killpg(other.pid, signal.SIGKILL)
            other.wait()
    return f"second host: took over {took_over}, the first one ended {ended}"


def _number(claim: Path) -> int:
    seen = claims.newest(claim)
    return seen.number if seen is not None else 0


def _waited(is_true: object, other: "subprocess.Popen[bytes]") -> bool:
    """Return whether something becomes true while the process `other` lives."""
    assert callable(is_true)
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline and other.poll() is None:
        if is_true():
            return True
        time.sleep(0.5)
    return bool(is_true())


def crash_host(bed: Bed, controller: "subprocess.Popen[str]") -> str | None:
    """Let the login host and a node with a job of ours die at the same moment."""
    found = bed.any_job(seconds=5.0)
    if found is None or controller.poll() is not None:
        return None
    (node, *_) = slurm("scontrol", "show", "hostnames", found[1]).split()
    send([controller.pid, *processes(["pipeline", str(bed.folder)])], signal.SIGKILL)
    slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=soak", check=False)
    time.sleep(5)
    resume(node)
    return f"login host and {node} crashed under job {found[0]}"


def skew_clock(bed: Bed, controller: "subprocess.Popen[str]") -> str | None:
    """Kill the controller; from now on the login host is ten minutes ahead, or behind."""
    if controller.poll() is not None:
        time.sleep(1)
        return None
    bed.skew_seconds = bed.dice.choice([each for each in SKEWS if each != bed.skew_seconds])
    send([controller.pid], signal.SIGKILL)
    return f"the login host's clock is {bed.skew_seconds:+.0f} s off from here on"


def delete_records(bed: Bed, controller: "subprocess.Popen[str]") -> str | None:
    """Delete one to three records of the ledger."""
    records = sorted((bed.folder / bed.name / "ledger").glob("*.json"))
    if len(records) < 4:
        time.sleep(1)
        return None
    gone = random.Random(bed.dice.random()).sample(records, bed.dice.randint(1, 3))
    for path in gone:
        path.unlink()
    return f"{len(gone)} of {len(records)} ledger records deleted"
