"""OmniLearned's files held to what the authors' loader makes of them: points, kinds, labels.

Ours packs the points that the authors' network takes for real, those whose ln pT is not 0. The
options of their loader to cut a batch and to clip points are not here.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from pipeline.data.events import Events
from pipeline.data.readers.omnilearned_h5 import LOG_PT, open_h5
from tests.golden.cases import Case, Row


def knows(case: Case) -> bool:
    """Return whether `case` is of this loader."""
    return "plain_X" in case.arrays


def events_of(case: Case) -> Events:
    """Return what our reader makes of a file with the arrays of the case."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jets.h5"
        with h5py.File(path, "w") as file:
            file["data"], file["pid"] = case.arrays["data"], case.arrays["file_pid"]
        with open_h5(path) as entries:
            events, _ = entries.read(0, entries.count)
    return events


def held(case: Case) -> Iterator[Row]:
    """Yield how what the loader collates by default compares."""
    events = events_of(case)
    known, more = events.per_point["features"], case.configuration["num_add"]
    kind = case.configuration["pid_idx"] - events.points.shape[1]
    found = {
        "plain_X": events.points,
        "plain_y": events.per_event["label"],
        "plain_pid": known[:, kind],
        "plain_add_info": known[:, -more:],
        "no_pid_X": np.concatenate([events.points, known], 1),
    }
    real = case.arrays["plain_X"][..., LOG_PT] != 0
    for name, values in found.items():
        theirs = case.arrays[name]
        packed = theirs if name == "plain_y" else theirs[real]
        yield Row(name, float(np.abs(values - packed).max()), 0.0)
