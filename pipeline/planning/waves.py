"""The command lines of a task that shares the nodes of a pilot or a pack, and their logs."""

import sys
from collections.abc import Sequence

from pipeline.campaign import CHAINED, PredictTask, SimulateTask, StageTask, Task
from pipeline.planning.plan import PROGRAMS
from pipeline.run import TaskFolder

# The only process of a training in a pack. Its start is its own, not the pack's; with port 0 the
# kernel chooses a free one.
ALONE = (
    *("env", "--unset=COSMOTRON_STARTED", "RANK=0", "LOCAL_RANK=0", "WORLD_SIZE=1"),
    *("MASTER_ADDR=127.0.0.1", "MASTER_PORT=0"),
)


def waves(task: Task, folder: TaskFolder) -> list[list[list[str]]]:
    """Return the command lines of a pilot task in waves; those of one wave may run together."""
    base = [sys.executable, "-m", PROGRAMS[task.stage], str(folder.path)]
    if isinstance(task, CHAINED):
        return [[[*ALONE, *base]]]
    if not isinstance(task, SimulateTask | StageTask | PredictTask):
        return [[base]]
    parts = [[*base, "--part", str(number)] for number in range(len(task.files))]
    begin = [[[*base, "--begin"]]] if isinstance(task, StageTask) else []
    return [*begin, parts, [[*base, "--finish"]]]


def log_name(command: Sequence[str]) -> str:
    """Return the log's name for a pilot's command line, from its options."""
    program = command[command.index("-m") :]
    options = [word.strip("-") for word in program[3:]]
    return "-".join(options or ["run"]) + ".log"
