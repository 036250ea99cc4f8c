"""One task on this machine alone: what `cosmotron simulate` and `cosmotron stage` do."""

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.campaign import SimulateTask, StageTask, declare
from pipeline.run import TaskFolder
from pipeline.workflow.plan import log_name, waves
from pipeline.workflow.watch import TaskError, why


def run_alone(task: SimulateTask | StageTask, folder: TaskFolder, *, workers: int) -> None:
    """Run the programs of `task` here, `workers` at a time, with a progress bar; resumable.

    Raises:
        TaskError: A program ended with an error; the message is its own.
    """
    declare(folder, task)
    folder.logs.mkdir(parents=True, exist_ok=True)
    text = TextColumn("{task.description}")
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as shown, ThreadPoolExecutor(workers) as pool:
        bar = shown.add_task(task.key, total=len(task.files))
        for wave in waves(task, folder):
            running = [pool.submit(_run, command, folder) for command in wave]
            for future in as_completed(running):
                future.result()
                shown.update(bar, advance="--part" in wave[0])


def _run(command: Sequence[str], folder: TaskFolder) -> None:
    """Run one program to its end, its output in a log."""
    log = folder.logs / log_name(command)
    with log.open("a") as stream:
        ended = subprocess.run(command, stdout=stream, stderr=stream, check=False)
    if ended.returncode:
        reason = f"its program ended with exit code {ended.returncode}"
        raise TaskError(why(folder, log, reason), ended.returncode)
