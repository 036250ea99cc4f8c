"""One task on this machine alone: what `cosmotron simulate` and `cosmotron stage` do."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.campaign import SimulateTask, StageTask, declare
from pipeline.run import RunError, TaskFolder, claimed, read_json
from pipeline.workflow.plan import log_name, waves
from pipeline.workflow.watch import TaskError, why

BEGUN = "begun.json"
POLL_SECONDS = 0.2


def run_alone(
    task: SimulateTask | StageTask, folder: TaskFolder, *, workers: int, ranks: int = 0
) -> None:
    """Do `task` here with a progress bar; resumable.

    Its programs run `workers` at a time, or as `ranks` ranks of one MPI job.

    Raises:
        BusyError: Another process is at work on it.
        TaskError: A program ended with an error; the message is its own.
    """
    declare(folder, task)
    folder.logs.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as shown:
        bar = shown.add_task(task.key, total=len(task.files))
        if ranks:
            _mpi(task, folder, ranks, lambda done: shown.update(bar, completed=done))
            return
        with claimed(folder.claim), ThreadPoolExecutor(workers) as pool:
            for wave in waves(task, folder):
                running = [pool.submit(_run, command, folder) for command in wave]
                for future in as_completed(running):
                    future.result()
                    shown.update(bar, advance="--part" in wave[0])
                if "--begin" in wave[0]:
                    shown.console.print((read_json(folder.parts / BEGUN) or {}).get("room", ""))


def _mpi(
    task: SimulateTask | StageTask, folder: TaskFolder, ranks: int, tell: Callable[[int], None]
) -> None:
    """Run the whole of `task` as one MPI job, and tell how many parts are done."""
    program = [sys.executable, "-m", f"pipeline.data.{task.stage}", str(folder.path), "--mpi"]
    log = folder.logs / "mpi.log"
    with log.open("a") as stream:
        job = subprocess.Popen([*_launcher(ranks), *program], stdout=stream, stderr=stream)
        while job.poll() is None:
            tell(len(folder.finished_parts))
            time.sleep(POLL_SECONDS)
    if job.returncode:
        reason = f"its MPI job ended with exit code {job.returncode}"
        raise TaskError(why(folder, log, reason), job.returncode)


def _launcher(ranks: int) -> list[str]:
    """Return the command line that starts `ranks` ranks: Slurm's inside a job, else MPI's own.

    Raises:
        RunError: There is none.
    """
    if "SLURM_JOB_ID" in os.environ:
        return ["srun", "--ntasks", str(ranks)]
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        message = "No mpiexec here. Install an MPI (pip install mpich), or stage with --workers."
        raise RunError(message)
    return [found, "-n", str(ranks)]


def _run(command: Sequence[str], folder: TaskFolder) -> None:
    """Run one program to its end, its output in a log."""
    log = folder.logs / log_name(command)
    with log.open("a") as stream:
        ended = subprocess.run(command, stdout=stream, stderr=stream, check=False)
    if ended.returncode:
        reason = f"its program ended with exit code {ended.returncode}"
        raise TaskError(why(folder, log, reason), ended.returncode)
