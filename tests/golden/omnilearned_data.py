"""OmniLearned's files held to what the authors' loader makes of them: points, kinds, labels.

Ours packs the points that the authors' network takes for real, those whose ln pT is not 0. What
their loader leaves out of a long jet, and how it shifts the labels of a data set, ours has in the
limit of an experiment and in the labels of a head. Its option to clip points is not here.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.events import Events
from pipeline.data.experiments.omnilearned import OMNILEARNED
from pipeline.data.readers.omnilearned_h5 import LOG_PT, open_h5
from pipeline.downstream.jets.score import classes_of
from pipeline.downstream.jets.spec import JetTask
from pipeline.families.omnilearned.body import kind_of
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
            if "shift_cond" in case.arrays:
                file["global"] = case.arrays["shift_cond"]
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
    yield from _further(case, events)


def _further(case: Case, events: Events) -> Iterator[Row]:
    """Yield how kinds, shifted labels, what is known of a jet, and shortened jets compare."""
    arrays = case.arrays
    if "pdg_number" in arrays:
        found = numbers_of(arrays["pdg"])
        yield Row("pdg_number", float(np.abs(found - arrays["pdg_number"]).max()), 0.0)
    if "shift_y" in arrays:
        shift = int((arrays["file_pid"] - arrays["shift_y"])[0])
        classes = 1 + int(arrays["shift_y"].max())
        task = JetTask(
            classes=tuple(map(str, range(classes))),
            labels=tuple((shift + number,) for number in range(classes)),
        )
        found = classes_of(events.per_event["label"], task)
        yield Row("shift_y", float(np.abs(found - arrays["shift_y"]).max()), 0.0)
        away = np.abs(events.per_event["globals"] - arrays["shift_cond"]).max()
        yield Row("shift_cond", float(away), 0.0)
    if "plain_X_at_most_20" in arrays:
        theirs = arrays["plain_X_at_most_20"]
        short, _ = OMNILEARNED.limit(events, theirs.shape[1])
        packed = theirs[theirs[..., LOG_PT] != 0]
        yield Row("plain_X_at_most_20", float(np.abs(short.points - packed).max()), 0.0)


def numbers_of(pdg: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers of kinds of PDG codes; 0 is padding."""
    code = torch.from_numpy(np.abs(pdg))
    lepton = (code == 11) | (code == 13)
    neutral = (code == 130) | (code == 2112)
    sign = torch.from_numpy(np.sign(pdg))
    flags = (
        (code > 0) & ~lepton & ~neutral & (code != 22),
        neutral,
        code == 22,
        code == 11,
        code == 13,
    )
    return kind_of(torch.where(lepton, -sign, sign), flags).numpy()
