"""All parts of a task by the ranks of an MPI job: `mpirun -n N … stage TASK_FOLDER --mpi`.

Which rank does which part changes nothing in what comes out.
"""

import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any


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
    from mpi4py import MPI  # noqa: PLC0415  # starts MPI

    world: Any = MPI.COMM_WORLD

    def abort(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.__excepthook__(kind, error, trace)
        sys.stderr.flush()
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
