"""Predict files, each a part: `python -m pipeline.training.programs.predict_parts TASK_FOLDER`.

With --part N the predictions for file N are written below the folder; with --finish the file of
all of them is made, the same bytes as by `pipeline.training.programs.predict` in one process.
"""

import hashlib
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import torch

from pipeline import claims, records
from pipeline.campaign import FinetuneTask, PredictTask, stored
from pipeline.data.errors import BadInput
from pipeline.data.predictions import formats
from pipeline.data.predictions.parts import is_whole, write_groups
from pipeline.data.predictions.table import tables
from pipeline.data.prepared_files import PreparedFiles
from pipeline.data.program import Program, part_record, part_records, run
from pipeline.records import FilesPredicted, Part, PredictRequest
from pipeline.run import TaskFolder
from pipeline.training.programs import program
from pipeline.training.programs.predict import Work


class PredictedFile(Part):
    """The predictions for one file: `events` of them, `model_seconds` of which were the model's.

    `made_from` is a digest of the weights and the state of the file; `rejected` counts events that
    were left out, by reason.
    """

    events: int
    rejected: dict[str, int]
    model_seconds: float
    device: str
    made_from: str


def make_part(folder: TaskFolder, task: PredictTask, number: int) -> None:
    """Write the predictions for file `number` of `task`, if it has events, and its record.

    Raises:
        BadInput: The file cannot be read.
    """
    began, made_from = time.monotonic(), _made_from(task, number)
    finetuned = stored.read(TaskFolder(task.finetuned), FinetuneTask)
    torch.set_num_threads(finetuned.training.threads)
    with tempfile.TemporaryDirectory() as place:
        files = PreparedFiles(task.source, Path(place), Counter())
        work = Work.of(request_of(task), finetuned, files)
        groups = work.groups(number)
        first = next(groups, None)
        events = 0
        if first is not None:
            events = write_groups(_path(folder, number), _all(first, groups))
    record = PredictedFile(
        events=events,
        rejected={name: count for name, count in files.rejected.items() if count},
        model_seconds=work.seconds,
        device=str(work.predictor.device),
        made_from=made_from,
        seconds=time.monotonic() - began,
    )
    claims.confirm()
    records.write(part_record(folder, number), record)


def request_of(task: PredictTask) -> PredictRequest:
    """Return the request that one process would get for the same files."""
    return PredictRequest(
        finetuned=str(task.finetuned),
        features=str(task.features or ""),
        source=task.source.model_dump(mode="json"),
        files=task.sources,
        to=str(task.to),
    )


def _all(first: pa.Table, others: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the `first` table and the others."""
    yield first
    yield from others


def is_made(folder: TaskFolder, task: PredictTask, number: int) -> bool:
    """Return whether the predictions for file `number` are there, of these weights and events."""
    record = records.read(part_record(folder, number), PredictedFile)
    if record is None or record.made_from != _made_from(task, number):
        return False
    return not record.events or is_whole(_path(folder, number), "", record.events)


def finish(folder: TaskFolder, task: PredictTask) -> None:
    """Write the file of all predictions, mark the task done, and remove the parts.

    Raises:
        BadInput: A part is not done, or a file of that name is there.
    """
    made = part_records(folder, PredictedFile, len(task.files))
    for number, name in enumerate(task.sources):
        if not is_made(folder, task, number):
            message = f"{name}: changed since it was predicted, or its part is damaged. Run again."
            raise BadInput(message)
    formats.check_ending(task.to)
    events = formats.save(task.to, _rows(folder, made))
    model_seconds = sum(each.model_seconds for each in made)
    rejected: Counter[str] = Counter()
    for each in made:
        rejected.update(each.rejected)
    result = FilesPredicted(
        to=str(task.to),
        files=len(made),
        events=events,
        rejected=dict(rejected),
        seconds=sum(each.seconds or 0 for each in made),
        events_per_second=events / model_seconds if model_seconds else 0.0,
        device=", ".join(sorted({each.device for each in made})),
    )
    folder.finish(result)
    shutil.rmtree(folder.prediction_parts, ignore_errors=True)


def _rows(folder: TaskFolder, made: Sequence[PredictedFile]) -> Iterator[pa.Table]:
    """Yield the row groups of all parts, in order."""
    for number, record in enumerate(made):
        if record.events:
            yield from tables(_path(folder, number))


def _path(folder: TaskFolder, number: int) -> Path:
    """Return the file with the predictions for file `number`."""
    return folder.prediction_parts / f"{number:06d}.parquet"


def _made_from(task: PredictTask, number: int) -> str:
    """Return a digest of the weights, of the settings, and of the state of file `number`."""
    name = task.sources[number]
    state = None if "://" in name else _state(Path(name))
    parts = [task.weights_sha256, task.source.model_dump(mode="json"), name, state]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _state(path: Path) -> list[int] | None:
    """Return the bytes and the time of a file, None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


PREDICT = Program("predict", PredictTask, part=make_part, is_done=is_made, finish=finish)


if __name__ == "__main__":
    program.leave(run(PREDICT))
