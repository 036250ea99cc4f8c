"""The graph of a campaign as Parsl apps: the order of the work, and nothing else."""

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from parsl.app.app import bash_app, join_app
from parsl.app.errors import BashExitFailure
from parsl.dataflow.errors import DependencyError
from parsl.executors.errors import BadStateException
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

from pipeline.chains import stop_requests
from pipeline.chains.job_manager import JobManager
from pipeline.chains.outcomes import diverged, why
from pipeline.chains.watch import TaskError, Watchers
from pipeline.planning import products
from pipeline.planning.plan import PACK, Step
from pipeline.planning.waves import log_name, waves
from pipeline.run import TaskFolder
from pipeline.workflow.devices import on_device
from pipeline.workflow.pilots import RETRIES

Needed = list[Future[Any]]


def shell(command: str, inputs: Needed = [], stdout: str = "", stderr: str = "") -> str:  # noqa: ARG001, B006
    """Return the command line for a pilot's worker; nothing else crosses to a compute node."""
    return command


Begun = Callable[[Step], "Future[None]"]


def begin(begun: Begun, step: Step, inputs: Needed = []) -> "Future[None]":  # noqa: ARG001, B006
    """Begin a training whose needs are done, in this process; return the future of its end."""
    return begun(step)


def submit(
    kernel: Any, manager: JobManager, watchers: Watchers, check: Callable[[Step], None]
) -> dict[str, Future[Any]]:
    """Start the graph of the plan's steps that are not done; return the future of each by key.

    Before a training begins, `check` looks at what it needs; what it raises is the step's failure.
    """

    def checked(step: Step) -> "Future[None]":
        """Check what the training `step` in a pack needs; return a future that is done."""
        check(step)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def watched(step: Step) -> "Future[None]":
        """Check what the training `step` needs; return the future of its chain."""
        check(step)
        return watchers.add(step)

    run_in_pilot = {
        kind: bash_app(shell, data_flow_kernel=kernel, executors=[kind])
        for kind in manager.plan.kinds
    }
    begin_here = join_app(begin, data_flow_kernel=kernel)
    futures: dict[str, Future[Any]] = {}
    makers = products.makers([step.task for step in manager.plan.steps])
    for step in manager.plan.steps:
        keys = dict.fromkeys((*step.task.needs, *products.reads(step.task, makers)))
        needed = [futures[key] for key in keys if key in futures]
        message = diverged(manager.plan.run.task(step.task.key)) if step.shares == PACK else ""
        if message:
            futures[step.task.key] = Future()
            futures[step.task.key].set_exception(TaskError(message, "diverged"))
        elif step.in_pilot:
            if step.shares == PACK:
                needed = [begin_here(checked, step, inputs=needed)]
            futures[step.task.key] = _in_pilot(run_in_pilot[step.shares], step, manager, needed)
        else:
            futures[step.task.key] = begin_here(watched, step, inputs=needed)
    return futures


def _in_pilot(
    app: Callable[..., Any], step: Step, manager: JobManager, needed: Needed
) -> Future[Any]:
    """Start a pilot task wave after wave; return the future of its last command."""
    folder = manager.plan.run.task(step.task.key)
    pilots = manager.plan.pilots(step.shares)
    where = (manager.plan.site, pilots.role.node, pilots.workers_per_node)
    for wave in waves(step.task, folder):
        needed = [
            app(
                on_device(command, *where),
                inputs=needed,
                stdout=str(folder.logs / log_name(command)),
                stderr=str(folder.logs / log_name(command)),
            )
            for command in wave
        ]
    return needed[0]


def problem(step: Step, manager: JobManager, error: BaseException) -> str:
    """Return the message of a failed step, empty if it only needed one that failed."""
    run = manager.plan.run
    if not all(run.task(key).is_done for key in step.task.needs):
        return ""
    while isinstance(error, DependencyError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, BadStateException):
        return str(error.reason)
    if isinstance(error, ManagerLost | WorkerLost):
        return _lost(run.task(step.task.key), error)
    if not isinstance(error, BashExitFailure):
        return str(error)
    request = stop_requests.message(run, step.task.key)
    if request:
        return request
    folder = run.task(step.task.key)
    return why(folder, _newest_log(folder), f"its program ended with exit code {error.exitcode}")


def _lost(folder: TaskFolder, error: ManagerLost | WorkerLost) -> str:
    """Return the message of a task whose every try lost its pilot or its worker."""
    lost = (
        f"lost its pilot in each of {RETRIES + 1} tries, the last on {error.hostname}. Does it "
        "exhaust the memory of a node? Run again to try it once more"
    )
    return why(folder, _newest_log(folder), lost)


def _newest_log(folder: TaskFolder) -> Path:
    """Return the log that was written last; of a task that wrote none, what it would be."""
    logs = folder.logs.glob("*.log")
    return max(logs, key=lambda path: path.stat().st_mtime, default=folder.logs / "run.log")
