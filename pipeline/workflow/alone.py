"""One task on this machine alone: what `cosmotron simulate` and `cosmotron stage` do."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline import claims, records
from pipeline.campaign import SimulateTask, StageTask, declare
from pipeline.chains.outcomes import why
from pipeline.chains.watch import TaskError
from pipeline.outcome import RunError, of_code
from pipeline.planning import changes, restaging
from pipeline.planning.waves import log_name, waves
from pipeline.records import Ending
from pipeline.run import TaskFolder
from pipeline.writing import read_json

BEGUN = "begun.json"
# The MPICH that pip installs beside Python: Slurm starts it by PMI2, which cannot carry the long
# addresses of its UCX on every machine; those of OFI are short.
PIP_MPICH = Path(sys.executable).with_name("mpichversion")
PIP_MPICH_SRUN = ("--mpi=pmi2",)
PIP_MPICH_ENVIRONMENT = {"MPIR_CVAR_CH4_NETMOD": "ofi"}
POLL_SECONDS = 0.2


class Shown:
    """The progress bar of a running task: its finished parts, and the disk space it needs."""

    def __init__(self, task: SimulateTask | StageTask, folder: TaskFolder) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self.progress = Progress(
            *columns, TimeRemainingColumn(), console=Console(stderr=True, soft_wrap=True)
        )
        self._bar = self.progress.add_task(task.key, total=len(task.files))
        self._folder = folder
        self._room = ""

    def update(self) -> None:
        """Show the current state of the task's folder."""
        done = len(self._folder.finished_parts)
        self.progress.update(self._bar, completed=done)
        if not self._room:
            self._room = (read_json(self._folder.parts / BEGUN) or {}).get("room", "")
            if self._room:
                self.progress.console.print(self._room, highlight=False)


def run_alone(
    task: SimulateTask | StageTask, folder: TaskFolder, *, workers: int, ranks: int = 0
) -> None:
    """Run `task` on this machine with a progress bar; it can be resumed.

    At most `workers` of its programs run at once, or `ranks` ranks of one MPI job.

    Raises:
        BusyError: Another process works on it.
        DeclarationError: Something else was made in the folder.
        TaskError: A program failed; the message is the program's.
    """
    is_other = changes.of_task(task, folder).meaning == "made again"
    corrects = is_other and isinstance(task, StageTask) and restaging.is_partial(task, folder)
    if is_other and not corrects:
        declare(folder, task)  # which says what differs
    if not corrects:
        changes.declare_anew(task, folder)
    folder.logs.mkdir(parents=True, exist_ok=True)
    shown = Shown(task, folder)
    with shown.progress:
        with claims.claimed(folder.claim, notice=partial(_say, shown)):
            if corrects and isinstance(task, StageTask):
                restaging.correct(task, folder)
            _forget(folder)
            if not ranks:
                _in_waves(task, folder, workers, shown)
                return
        _mpi(task, folder, ranks, shown)  # its first rank holds the claim


def _say(shown: Shown, message: str) -> None:
    """Print `message` above the progress bar."""
    shown.progress.console.print(message, markup=False, highlight=False)


def _forget(folder: TaskFolder) -> None:
    """Remove an earlier try's records of its failure and its disk space."""
    result = records.read(folder.result, Ending)
    if result is not None and not result.is_finished:
        folder.result.unlink(missing_ok=True)
    (folder.parts / BEGUN).unlink(missing_ok=True)


def _in_waves(
    task: SimulateTask | StageTask, folder: TaskFolder, workers: int, shown: Shown
) -> None:
    """Run the programs of `task`, at most `workers` at once; after a failure none is started."""
    with ThreadPoolExecutor(workers) as pool:
        for wave in waves(task, folder):
            running = [pool.submit(_run, command, folder) for command in wave]
            try:
                for future in as_completed(running):
                    future.result()
                    shown.update()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _mpi(task: SimulateTask | StageTask, folder: TaskFolder, ranks: int, shown: Shown) -> None:
    """Run the whole of `task` as one MPI job."""
    program = [sys.executable, "-m", f"pipeline.data.{task.stage}", str(folder.path), "--mpi"]
    log = folder.logs / "mpi.log"
    environment = (PIP_MPICH_ENVIRONMENT if PIP_MPICH.exists() else {}) | os.environ
    with log.open("a") as stream:
        job = subprocess.Popen(
            [*_launcher(ranks), *program], stdout=stream, stderr=stream, env=environment
        )
        while job.poll() is None:
            shown.update()
            time.sleep(POLL_SECONDS)
    shown.update()
    _check("its MPI job", job.returncode, folder, log)


def _launcher(ranks: int) -> list[str]:
    """Return the command that starts `ranks` ranks: srun inside a Slurm job, else mpiexec.

    srun uses the site's default MPI, or SLURM_MPI_TYPE; only MPICH from pip needs --mpi=pmi2.

    Raises:
        RunError: There is no mpiexec.
    """
    if "SLURM_JOB_ID" in os.environ:
        from_pip = PIP_MPICH.exists() and "SLURM_MPI_TYPE" not in os.environ
        return ["srun", "--ntasks", str(ranks), *(PIP_MPICH_SRUN if from_pip else ())]
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        message = "No mpiexec here. Install an MPI (pip install mpich), or stage with --workers."
        raise RunError(message)
    return [found, "-n", str(ranks)]


def _run(command: Sequence[str], folder: TaskFolder) -> None:
    """Run one program to its end, with its output in a log; it works for the claim held here."""
    log = folder.logs / log_name(command)
    with log.open("a") as stream:
        environment = os.environ | claims.for_children()
        ended = subprocess.run(command, stdout=stream, stderr=stream, env=environment, check=False)
    _check(f"its program {log.stem}", ended.returncode, folder, log)


def _check(what: str, code: int, folder: TaskFolder, log: Path) -> None:
    """Check that `what` ended well.

    Raises:
        TaskError: It ended with `code`, a signal if below 0.
    """
    if code > 0:
        reason = why(folder, log, f"{folder.path}: {what} ended with exit code {code}")
        raise TaskError(reason, of_code(code).name)
    if code < 0:
        reason = f"{folder.path}: {what} was killed ({signal.Signals(-code).name}). Out of memory? "
        reason += f"Fewer at once may help. The same command goes on from here (log: {log})"
        raise TaskError(reason, "killed")
