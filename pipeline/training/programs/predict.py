"""Predict files: `python -m pipeline.training.programs.predict REQUEST.json`, one process.

A request is a `records.PredictRequest`. A line of JSON on stdout says how far it is
(`records.FileProgress`), the last one what was made (`records.FilesPredicted`).
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa
import torch

from pipeline import records
from pipeline.campaign import FeaturesTask, FinetuneTask, stored
from pipeline.campaign.model_folder import SourceFiles
from pipeline.data import predictions
from pipeline.data.predictions import formats
from pipeline.data.predictions.parts import grouped
from pipeline.data.prepared_files import FileEvents, PreparedFiles, check_files
from pipeline.data.store import Store
from pipeline.families import Family
from pipeline.masking import masked, print_traceback
from pipeline.outcome import Exit, classify
from pipeline.records import FileProgress, FilesPredicted, PredictRequest, Record
from pipeline.run import TaskFolder
from pipeline.training.engine.engine import World
from pipeline.training.featuring import Featuring
from pipeline.training.link.throttle import Throttle
from pipeline.training.loader import of_features
from pipeline.training.model_files import ModelFiles
from pipeline.training.predicting import known_truth
from pipeline.training.predictor import Predictor
from pipeline.training.programs import program
from pipeline.training.programs.features import BATCH_EVENTS

READ_EVENTS = 1024


def predict(request: PredictRequest) -> FilesPredicted:
    """Write the predictions for all events of the files, whole or not at all.

    Raises:
        BadInput: A file cannot be read, or the output cannot be written as it is called.
        RunError: The weights are not there.
    """
    began = time.monotonic()
    to = Path(request.to)
    formats.check_ending(to)
    check_files(list(request.files))
    task = stored.read(TaskFolder(Path(request.finetuned)), FinetuneTask)
    torch.set_num_threads(task.training.threads)
    with tempfile.TemporaryDirectory() as folder:
        source = SourceFiles.model_validate(request.source)
        files = PreparedFiles(source, Path(folder), Counter())
        work = Work.of(request, task, files)
        count = formats.save(to, chain.from_iterable(map(work.groups, range(len(request.files)))))
    return FilesPredicted(
        to=str(to),
        files=len(request.files),
        events=count,
        rejected={name: n for name, n in files.rejected.items() if n},
        seconds=time.monotonic() - began,
        events_per_second=count / work.seconds if work.seconds else 0.0,
        device=str(work.predictor.device),
    )


class Work:
    """The files of a request on their way through the model; `seconds` are those of the model."""

    def __init__(
        self,
        request: PredictRequest,
        predictor: Predictor,
        files: PreparedFiles,
        model: Family,
        featuring: Featuring | None,
    ) -> None:
        self.request, self.predictor, self.files = request, predictor, files
        of_file, self.featuring = model.reads_downstream(), featuring
        self.reads = of_file if featuring is None else of_features(of_file, model)
        self.of_model = ModelFiles.of(files, of_file, predictor.device)
        self.columns = self.of_model.columns
        self.seconds = 0.0
        self._is_due = Throttle(0.2)

    @classmethod
    def of(cls, request: PredictRequest, task: FinetuneTask, files: PreparedFiles) -> "Work":
        """Return the work of a request on the model of `task`."""
        device, store = World().device, Store.open(task.store)
        predictor = Predictor.load(Path(request.finetuned), task, store, device)
        featuring = None
        if task.cached:
            made = stored.read(TaskFolder(Path(request.features)), FeaturesTask)
            featuring = Featuring.load(made, store, device)
        return cls(request, predictor, files, task.model, featuring)

    def groups(self, number: int) -> Iterator[pa.Table]:
        """Yield the row groups of the predictions for file `number`, and print how far they are.

        None holds events of two files: then a file makes the same ones wherever it is predicted.
        """
        return grouped(self._tables(number))

    def _tables(self, number: int) -> Iterator[pa.Table]:
        """Yield the predictions for file `number`."""
        described, name = self.predictor.described(), self.request.files[number]
        for found in self.of_model.stream(name, READ_EVENTS):
            began, events = time.monotonic(), found.events
            if self.featuring is not None:
                events = self.featuring.featured(events, self.columns, BATCH_EVENTS)
            predicted = self.predictor.predict(events, self.columns, self.reads)
            self.seconds += time.monotonic() - began
            truth = known_truth(events, self.predictor.head)
            names = [masked(name)] * len(events)
            yield predictions.Table(described, truth, names, found.entry, predicted).arrow()
            self._print(number, found)

    def _print(self, number: int, found: FileEvents) -> None:
        """Print how far the files are, a few times a second."""
        if self._is_due():
            total = len(self.request.files)
            _print(FileProgress(done=number + found.read / found.count, files=total))


def _print(record: Record) -> None:
    """Print `record` as one line."""
    print(record.model_dump_json(), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Predict as the request on the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=predict.__doc__)
    parser.add_argument("request", type=Path, help="the file with the request")
    try:
        request = records.read(parser.parse_args(arguments).request, PredictRequest)
        assert request is not None, "whoever starts this has written it"
        _print(predict(request))
    except Exception as error:  # noqa: BLE001 - classified and reported
        failure = classify(error, where="The prediction")
        if not failure.is_foreseen:
            print_traceback(error)
        print(failure.message, file=sys.stderr)
        return failure.code
    return Exit.FINISHED


if __name__ == "__main__":
    program.leave(main())
