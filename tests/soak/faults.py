"""The faults: each is injected into a running campaign at a random moment."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

from soak.bed import Bed, resume, slurm, testbed
from soak.hosts import (
    crash_host,
    delete_records,
    kill_pilot,
    second_host,
    skew_clock,
    stop_pilot,
    stop_training,
)

# Returns what it did; None if it found no target.
Fault = Callable[[Bed, "subprocess.Popen[str]"], str | None]
OUTAGE_SECONDS = 30
FULL_SECONDS = 60


def kill_controller(bed: Bed, controller: "subprocess.Popen[str]") -> str | None:
    """Kill the process on the login node with SIGKILL."""
    if controller.poll() is not None:
        time.sleep(1)
        return None
    with suppress(ProcessLookupError):
        os.kill(controller.pid, signal.SIGKILL)
    return "controller killed"


def node_down(bed: Bed, controller: "subprocess.Popen[str]") -> str | None:
    """Set a node under a running job down."""
    found = bed.any_job()
    if found is None:
        return None
    (node, *_) = slurm("scontrol", "show", "hostnames", found[1]).split()
    slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=soak")
    time.sleep(5)
    resume(node)
    return f"{node} under job {found[0]}"


def requeue(bed: Bed, controller: "subprocess.Popen[str]") -> str | None:
    """Requeue a running training."""
    found = bed.any_job("pretrain")
    if found is None:
        return None
    slurm("scontrol", "update", f"jobid={found[0]}", "requeue=1", check=False)
    slurm("scontrol", "requeue", found[0], check=False)
    return f"job {found[0]}"


def preempt(bed: Bed, controller: "subprocess.Popen[str]") -> str:
    """Preempt the trainings: a job of a better QOS takes all their nodes."""
    bed.any_job("pretrain")
    options = ("-A", "m4722", "-q", "premium", "-C", "gpu", "-N4", "-t1", "-o", "/dev/null")
    return "by job " + slurm("sbatch", "--parsable", *options, "--wrap=sleep 5").strip()


def time_limit(bed: Bed, controller: "subprocess.Popen[str]") -> str | None:
    """Let a pilot reach its time limit while tasks run in it."""
    found = bed.any_job("pilot", seconds=5.0)
    if found is None:
        return None
    slurm("scontrol", "update", f"jobid={found[0]}", "timelimit=1", check=False)
    return f"job {found[0]}"


def scancel(bed: Bed, controller: "subprocess.Popen[str]") -> str | None:
    """Cancel a running job by hand."""
    found = bed.any_job()
    if found is None:
        return None
    slurm("scancel", found[0], check=False)
    return f"job {found[0]}"


def restart_slurmctld(bed: Bed, controller: "subprocess.Popen[str]") -> str:
    """Kill slurmctld with SIGKILL, and start it again after 5 s."""
    subprocess.run(["pkill", "-KILL", "-x", "slurmctld"], check=False)
    time.sleep(5)
    testbed("up")
    return "back after 5 s"


def silent_sbatch(bed: Bed, controller: "subprocess.Popen[str]") -> str:
    """Let the next sbatch accept its job and print nothing."""
    (bed.commands / "sbatch.broken").touch()
    return "the next one"


def bad_sacct(bed: Bed, controller: "subprocess.Popen[str]") -> str:
    """Make sacct slow, and let every second call fail."""
    (bed.commands / "sacct.broken").touch()
    time.sleep(OUTAGE_SECONDS)
    (bed.commands / "sacct.broken").unlink()
    return f"{OUTAGE_SECONDS} s"


def full_scratch(bed: Bed, controller: "subprocess.Popen[str]") -> str:
    """Fill the file system of the run for a minute."""
    ballast = bed.folder / "ballast"
    free = shutil.disk_usage(bed.folder).free
    with suppress(OSError), ballast.open("wb") as stream:
        for _ in range(free // 2**20 + 2):
            stream.write(b"\0" * 2**20)
    time.sleep(FULL_SECONDS)
    ballast.unlink()
    return f"{FULL_SECONDS} s"


FAULTS: dict[str, Fault] = {
    "controller kill -9": kill_controller,
    "node down": node_down,
    "job requeued": requeue,
    "preemption by QOS": preempt,
    "time limit": time_limit,
    "scancel by hand": scancel,
    "slurmctld restarted": restart_slurmctld,
    "sbatch answers nothing": silent_sbatch,
    "slow and failing sacct": bad_sacct,
    "scratch full for a minute": full_scratch,
    "login host and node crash": crash_host,
    "controller stopped, another host takes over": second_host,
    "training stopped for three minutes": stop_training,
    "pilot stopped for three minutes": stop_pilot,
    "pilot kill -9": kill_pilot,
    "login host's clock ten minutes off": skew_clock,
    "ledger records deleted": delete_records,
}
