"""Make sample files in a real experiment's schema: `python -m pipeline.data.simulate TASK_FOLDER`.

Part N is file N of the task; its seed depends on the task's seed and N alone.
"""

import time
from pathlib import Path

import numpy as np

from pipeline.campaign import SimulateTask, Simulation
from pipeline.data.checksums import sha256, unchanged
from pipeline.data.errors import BadInput
from pipeline.data.events import Events
from pipeline.data.program import Program, part_record, part_records, run
from pipeline.data.readers.sphenix_npz import write_npz
from pipeline.data.simulation.sample import Sample, make
from pipeline.data.simulation.sphenix_root import write_root
from pipeline.run import TaskFolder, read_json, write_json


def part_seed(seed: int, number: int) -> int:
    """Return the seed of part `number`, independent of the other parts."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def write(path: Path, sample: Sample, simulation: Simulation) -> tuple[Path, ...]:
    """Write `sample` in the format of `simulation`; return the files."""
    if simulation.format == "npz":
        return write_npz(path, sample.events, labelled=simulation.labelled)
    write_root(path, sample)
    return (path,)


def track_count(events: Events) -> int:
    """Return the number of true tracks: distinct ids other than noise, event by event."""
    track_id = events.per_point["track_id"]
    pairs = np.stack([events.event, track_id])[:, track_id != 0]
    return int(np.unique(pairs, axis=1).shape[1])


def make_part(folder: TaskFolder, task: SimulateTask, number: int) -> None:
    """Write file `number` of `task` and its record."""
    started = time.perf_counter()
    path = task.files[number][1]
    for leftover in path.parent.glob(f".*_{number:03d}{path.suffix}.*.tmp"):
        leftover.unlink()
    count = task.simulation.events_per_file
    sample = make(count, seed=part_seed(task.seed, number), source=str(path))
    files = write(path, sample, task.simulation)
    record = {
        "events": len(sample.events),
        "points": len(sample.events.points),
        "tracks": track_count(sample.events),
        "seconds": round(time.perf_counter() - started, 3),
        "files": {file.name: sha256(file) for file in files},
    }
    write_json(part_record(folder, number), record)


def is_made(folder: TaskFolder, task: SimulateTask, number: int) -> bool:
    """Return whether file `number` of `task` is there and is what was written."""
    record = read_json(part_record(folder, number))
    return record is not None and unchanged(task.files[number][1].parent, record["files"])


def finish(folder: TaskFolder, task: SimulateTask) -> None:
    """Check every file of `task` and mark it done.

    Raises:
        BadInput: A file is missing or damaged.
    """
    records = part_records(folder, len(task.files))
    for number, (_, path) in enumerate(task.files):
        if not is_made(folder, task, number):
            message = f"{path}: not what was written. Run again with --part {number}."
            raise BadInput(message)
    events = sum(record["events"] for record in records)
    points = sum(record["points"] for record in records)
    tracks = sum(record["tracks"] for record in records)
    folder.finish(
        {
            "files": len(records),
            "events": events,
            "mean_points": points / events,
            "mean_tracks": tracks / events,
            "seconds": sum(record["seconds"] for record in records),
        }
    )


SIMULATE = Program("simulate", SimulateTask, part=make_part, is_done=is_made, finish=finish)

if __name__ == "__main__":
    raise SystemExit(run(SIMULATE))
