"""All parts of a task by the ranks of an MPI job: `mpirun -n N … stage TASK_FOLDER --mpi`.

Which rank does which part changes nothing in what comes out.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from pipeline.outcome import Exit

SAID_SECONDS = 1


def shared_out(weights: Sequence[int], rank: int, ranks: int) -> list[int]:
    """Return the parts of `rank`: heaviest first, each to whoever has the least so far."""
    load = [0] * ranks
    mine = []
    for part in sorted(range(len(weights)), key=lambda part: (-weights[part], part)):
        lightest = load.index(min(load))
        load[lightest] += max(1, weights[part])
        if lightest == rank:
            mine.append(part)
    return mine


def run_ranks(
    weights: Sequence[int],
    *,
    begin: Callable[[], int],
    part: Callable[[int], int],
    finish: Callable[[], int],
) -> int:
    """Run `begin` and `finish` on the first rank and each part on one; return the exit code.

    The steps return exit codes; the first that is not 0 in rank order is everybody's. A rank that
    dies of an error nobody foresaw takes the others with it, or they would wait for ever.
    """
    from mpi4py import MPI  # starts MPI

    world: Any = MPI.COMM_WORLD
    if not sees_all(world.size):
        return Exit.USAGE

    def abort(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.__excepthook__(kind, error, trace)
        sys.stderr.flush()
        time.sleep(SAID_SECONDS)  # an aborted job's launcher drops what it has not passed on yet
        world.Abort(1)

    sys.excepthook = abort
    code: int = world.bcast(begin() if world.rank == 0 else None, root=0)
    if code:
        return code
    ended = [part(number) for number in shared_out(weights, world.rank, world.size)]
    code = next((each for several in world.allgather(ended) for each in several if each), 0)
    if code:
        return code
    return int(world.bcast(finish() if world.rank == 0 else None, root=0))


def sees_all(size: int) -> bool:
    """Return whether MPI knows of all processes that srun started; say it if it does not.

    An MPI that does not speak with Slurm makes of each process a world of its own.
    """
    started = int(os.environ.get("SLURM_STEP_NUM_TASKS", size))
    if size == 1 < started:
        message = (
            f"srun started {started} processes, but each finds itself alone: this MPI does not "
            "understand Slurm. Try srun --mpi=pmi2 (MPICH) or --mpi=pmix (Open MPI), or set "
            "SLURM_MPI_TYPE to it; srun --mpi=list names what there is."
        )
        if os.environ.get("SLURM_PROCID") == "0":
            print(message, file=sys.stderr)  # noqa: T201
        return False
    return True
