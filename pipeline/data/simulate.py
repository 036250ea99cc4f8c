"""Make sample files in a real experiment's schema: `python -m pipeline.data.simulate TASK_FOLDER`.

Part N is file N of the task; its seed depends on the task's seed and N alone.
"""

import time
from collections import Counter

import numpy as np

from pipeline import claims, records
from pipeline.campaign import SimulateTask
from pipeline.data.checksums import sha256, unchanged
from pipeline.data.errors import BadInput
from pipeline.data.program import Program, part_record, part_records, run
from pipeline.data.simulation import simulator
from pipeline.records import Part, Simulated
from pipeline.run import TaskFolder


class SimulatedFile(Part):
    """One simulated file with its companions: their SHA-256 by the path below the output.

    `counts` are of tracks and so on, over all events.
    """

    events: int
    points: int
    counts: dict[str, int]
    files: dict[str, str]


def part_seed(seed: int, number: int) -> int:
    """Return the seed of part `number`, independent of the other parts."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def make_part(folder: TaskFolder, task: SimulateTask, number: int) -> None:
    """Write file `number` of `task` and its record."""
    started = time.perf_counter()
    path = task.files[number][1]
    for leftover in path.parent.glob(f".*_{path.stem.rpartition('_')[2]}{path.suffix}.*.tmp"):
        leftover.unlink()
    made = simulator(task.simulation.experiment).write(
        path, task.simulation, number, part_seed(task.seed, number)
    )
    record = SimulatedFile(
        events=made.events,
        points=made.points,
        counts=made.counts,
        seconds=round(time.perf_counter() - started, 3),
        files={file.relative_to(task.output).as_posix(): sha256(file) for file in made.files},
    )
    claims.confirm()
    records.write(part_record(folder, number), record)


def is_made(folder: TaskFolder, task: SimulateTask, number: int) -> bool:
    """Return whether file `number` of `task` is there and is what was written."""
    record = records.read(part_record(folder, number), SimulatedFile)
    return record is not None and unchanged(task.output, record.files)


def finish(folder: TaskFolder, task: SimulateTask) -> None:
    """Check every file of `task` and mark it done.

    Raises:
        BadInput: A file is missing or damaged.
    """
    made = part_records(folder, SimulatedFile, len(task.files))
    for number, (_, path) in enumerate(task.files):
        if not is_made(folder, task, number):
            message = f"{path}: not what was written. Run again with --part {number}."
            raise BadInput(message)
    simulator(task.simulation.experiment).finish(tuple(path for _, path in task.files))
    events = sum(each.events for each in made)
    counts: Counter[str] = sum((Counter(each.counts) for each in made), Counter())
    counts["points"] = sum(each.points for each in made)
    folder.finish(
        Simulated(
            files=len(made),
            events=events,
            means={name: count / events for name, count in counts.items()},
            seconds=sum(each.seconds or 0 for each in made),
        )
    )


SIMULATE = Program("simulate", SimulateTask, part=make_part, is_done=is_made, finish=finish)

if __name__ == "__main__":
    raise SystemExit(run(SIMULATE))
