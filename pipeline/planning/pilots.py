"""How many pilots are requested, and for how long: as much as their tasks may take, and no more.

A shorter job starts sooner, and its whole walltime is reserved against the allocation.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.campaign import CHAINED, PredictTask, SimulateTask, StageTask, Task
from pipeline.site import Pilot

# The minutes of a task in a pilot, of what has parts per file: guesses until measured.
MINUTES = {
    "simulate": 10.0,
    "stage": 10.0,
    "tokenize": 30.0,
    "fetch": 30.0,
    "features": 30.0,
    "evaluate": 5.0,
    "probe": 5.0,
    "predict": 5.0,
}
# The slowest reader, with 30 neighbours of each point, on one core: docs/measured/data.md.
STAGED_BYTES_PER_SECOND = 4e6
UNSURE = 4.0  # a task may take so many times what is guessed
DRAIN_SHARE = 0.9  # of a pilot's walltime, after which it takes no new work
STEP_MINUTES = 5


def fitted(declared: Pilot, tasks: Sequence[Task], overhead_minutes: float) -> Pilot:
    """Return `declared`, the most that the site gives, with no more blocks and minutes than needed.

    Any order of tasks on W workers ends within the longest task and a W-th of the others (Graham,
    SIAM J. Appl. Math. 17 (1969) 416), and a pilot takes none in the last part of its walltime.

    Args:
        declared: The site's pilots.
        tasks: All tasks of a campaign that share them.
        overhead_minutes: From a job's start to its first task's.
    """
    if not tasks:
        return declared
    at_once: Counter[str] = Counter()
    minutes: list[float] = []
    for task in tasks:
        each = _minutes(task)
        at_once[task.stage] += len(each)
        minutes += each
    per_block = declared.nodes_per_block * declared.workers_per_node
    blocks = min(declared.max_blocks, math.ceil(max(at_once.values()) / per_block))
    longest = max(minutes)
    takes = longest + (sum(minutes) - longest) / (blocks * per_block)
    needed = overhead_minutes + takes / DRAIN_SHARE
    walltime = min(declared.walltime_minutes, STEP_MINUTES * math.ceil(needed / STEP_MINUTES))
    return declared.model_copy(update={"max_blocks": blocks, "walltime_minutes": walltime})


def _minutes(task: Task) -> list[float]:
    """Return how long each part of a task may take."""
    if isinstance(task, CHAINED):
        return [float(task.training.walltime_minutes)]
    guess = MINUTES[task.stage]
    if isinstance(task, StageTask | PredictTask):
        sizes = _sizes(name for _, name in task.files)
        return [UNSURE * max(guess, size / STAGED_BYTES_PER_SECOND / 60) for size in sizes]
    parts = len(task.files) if isinstance(task, SimulateTask) else 1
    return [UNSURE * guess] * parts


def _sizes(names: Iterable[str]) -> list[int]:
    """Return the bytes of each source file; 0 for an address, or a file not made yet."""
    found = []
    for name in names:
        try:
            found.append(Path(name).stat().st_size)
        except OSError:
            found.append(0)
    return found
