"""Parsl's pilots through our own scheduler room: one provider for every kind of machine.

Parsl's SlurmProvider forgets how blocks end and takes a job that accounting does not know yet for
completed, and its LocalProvider leaves no trace for the next controller. This provider submits the
same rendered scripts as every other job: pilots are in the ledger, can be found by their key, and
accounting alone decides how they ended.
"""

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import parsl
from parsl.addresses import address_by_interface
from parsl.app.errors import BashExitFailure
from parsl.config import Config
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

from pipeline.chains.job_manager import JobManager
from pipeline.claims import Holder
from pipeline.outcome import Exit, RunError
from pipeline.planning.pilots import DRAIN_SHARE
from pipeline.planning.plan import PACK, PILOT
from pipeline.run import Run, TaskFolder
from pipeline.scheduler import batch_system
from pipeline.site import Site
from pipeline.workflow.devices import cpu_affinity, devices
from pipeline.workflow.losses import Losses
from pipeline.workflow.provider import PilotExecutor, PilotProvider
from pipeline.writing import read_json, write_json

RETRIES = 2
# After so long without a heartbeat of a pilot its tasks are begun again, in another one.
HEARTBEAT_SECONDS, SILENT_SECONDS = 10, 60
MAX_CONTINUED = 100  # how often a training in packs may ask to be continued


def config(manager: JobManager) -> Config:
    """Return Parsl's configuration: an executor for each kind of pilots that the plan needs."""
    pilots = [manager.plan.pilots(kind) for kind in manager.plan.kinds]
    return Config(
        executors=[_executor(manager, kind) for kind in manager.plan.kinds],
        # "htex_auto_scale" would cancel a block of two workers that runs one task
        strategy="simple",
        strategy_period=1,
        max_idletime=float(max((pilot.idle_seconds for pilot in pilots), default=1)),
        retries=RETRIES,
        retry_handler=_retry_cost,
        run_dir=str(manager.plan.run.parsl),
        initialize_logging=False,
    )


def _executor(manager: JobManager, kind: str) -> PilotExecutor:
    """Return the executor of one kind of pilots.

    Each worker has its own device, if there are as many, and the CPUs nearest to it. A pilot starts
    no task in the last part of its walltime, where a training would be ended as soon as it starts.
    """
    pilot = manager.plan.pilots(kind)
    site = manager.plan.site
    workers = site, pilot.role.node, pilot.workers_per_node
    provider = PilotProvider(manager, kind)
    return PilotExecutor(
        label=kind,
        provider=provider,
        block_error_handler=Losses(provider),
        address=_address(manager.plan.site),
        loopback_address="127.0.0.1",
        max_workers_per_node=pilot.workers_per_node,
        available_accelerators=devices(*workers),
        cpu_affinity=cpu_affinity(*workers),
        drain_period=round(60 * DRAIN_SHARE * pilot.walltime_minutes),
        # in a session of its own, or Ctrl-C would hit it before us; and it ends when we are killed
        interchange_launch_cmd=[
            *("setpriv", "--pdeathsig", "TERM", "setsid"),
            *(sys.executable, "-m", "pipeline.workflow.interchange"),
        ],
        heartbeat_period=HEARTBEAT_SECONDS,
        heartbeat_threshold=SILENT_SECONDS,
    )


def _address(site: Site) -> str | None:
    """Return the address at which compute nodes reach this process; None lets Parsl probe.

    Raises:
        RunError: This machine has no such network interface.
    """
    name = site.pilot.login_interface
    if not name:
        return None if batch_system(site).HAS_QUEUE else "127.0.0.1"
    try:
        return str(address_by_interface(name))
    except OSError as error:
        message = (
            f"{site.name}: this machine has no network interface {name!r}, at which its nodes "
            "would reach it. Run on its login node, or correct pilot.login_interface in a site "
            "file of your own (--site)."
        )
        raise RunError(message) from error


def _retry_cost(error: Exception, record: Any) -> float:
    """Return how many retries a failure uses up: one for a lost pilot, all for any other failure.

    A training that saved and continues uses up almost none, unless a stop request exists.
    """
    if isinstance(error, BashExitFailure) and error.exitcode == Exit.CONTINUE:
        folder = TaskFolder(Path(record["kwargs"]["stdout"]).parent.parent)
        stopped = folder.stop.exists() or folder.run_stop.exists()
        return RETRIES + 1 if stopped else RETRIES / MAX_CONTINUED
    return 1.0 if isinstance(error, ManagerLost | WorkerLost) else RETRIES + 1


def load(manager: JobManager) -> parsl.DataFlowKernel:
    """Start Parsl, and record its helper process for the next controller."""
    kernel = parsl.load(config(manager))
    helpers = [vars(Holder.of(helper.pid)) for helper in _helpers(kernel)]
    write_json(_note(manager.plan.run), {"helpers": helpers})
    return kernel


def _helpers(kernel: parsl.DataFlowKernel) -> list[Any]:
    """Return the helper process of each executor of ours."""
    return [executor.interchange_proc for executor in _executors(kernel)]


def _executors(kernel: parsl.DataFlowKernel) -> list[Any]:
    """Return the executors of ours."""
    return [kernel.executors[kind] for kind in (PILOT, PACK) if kind in kernel.executors]


def check(kernel: parsl.DataFlowKernel) -> None:
    """Check that Parsl's helper processes live: Parsl itself does not notice their death.

    Raises:
        RunError: One has died; the same command starts another.
    """
    for helper in _helpers(kernel):
        if helper.poll() is not None:
            message = (
                f"Parsl's interchange (process {helper.pid}) ended with exit code "
                f"{helper.returncode}, so pilots get no more tasks. Run the same command again to "
                "resume."
            )
            raise RunError(message)


def news(kernel: parsl.DataFlowKernel) -> Iterator[str]:
    """Yield what the screen has not shown yet of pilots that were lost."""
    for executor in _executors(kernel):
        while executor.block_error_handler.news:
            yield executor.block_error_handler.news.popleft()


def leave(kernel: parsl.DataFlowKernel) -> None:
    """Stop Parsl; if its helper has died, abandon it, since it would wait for ever."""
    if all(helper.poll() is None for helper in _helpers(kernel)):
        kernel.cleanup()
    else:
        abandon(kernel)


def abandon(kernel: parsl.DataFlowKernel) -> None:
    """Leave Parsl and its pilots as they are; its helper ends with this process."""
    atexit.unregister(kernel.atexit_cleanup)


def sweep(manager: JobManager) -> int:
    """End the pilots and helpers of a killed controller; return the number of jobs."""
    note = read_json(_note(manager.plan.run))
    for helper in (Holder(**each) for each in (note or {"helpers": []})["helpers"]):
        if helper.is_alive:
            os.kill(helper.pid, signal.SIGKILL)
    orphans = [each.job_id for each in manager.unended(PILOT, PACK)]
    manager.cancel(orphans)
    return len(orphans)


def _note(run: Run) -> Path:
    """Return the file that records Parsl's helper processes."""
    return run.parsl / "interchange.json"
