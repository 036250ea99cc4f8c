"""Nothing that is no number goes into a store unless the experiment says that it may be unknown."""

import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
from made_events import stage_task

from pipeline.data.errors import BadInput
from pipeline.data.events import Events
from pipeline.data.preparation.finite import check_finite
from pipeline.data.program import run
from pipeline.data.stage import STAGE
from pipeline.outcome import Exit

EVENTS = Events(
    source="made.npz",
    columns=("x", "y"),
    points=np.ones((5, 2), np.float32),
    offsets=np.array([0, 2, 5]),
    event_id=np.array([7, 8]),
    per_point={"features": np.ones((5, 3)), "track_id": np.arange(5)},
    per_event={"globals": np.ones((2, 2)), "energy": np.ones(2), "label": np.arange(2)},
)


def with_one(name, value):
    """Return EVENTS where the last number of `name` is `value`."""
    where = "per_point" if name in EVENTS.per_point else "per_event"
    arrays = {key: values.copy() for key, values in getattr(EVENTS, where).items()}
    arrays[name].reshape(-1)[-1] = value
    return replace(EVENTS, **{where: arrays}, verified=True)


def test_finite_numbers_pass():
    check_finite(EVENTS)
    check_finite(with_one("energy", -np.finfo(np.float32).max))


@pytest.mark.parametrize("name", ["features", "globals", "energy"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_what_is_no_number_of_float32_is_refused_by_name(name, value):
    told = rf"made.npz: {name} holds {re.escape(str(value))} in event 8;.*may_be_missing"
    with pytest.raises(BadInput, match=told):
        check_finite(with_one(name, value))


def test_points_that_a_transform_made_infinite_are_refused():
    points = EVENTS.points.copy()
    points[0, 1] = -np.inf
    with pytest.raises(BadInput, match="points holds -inf in event 7;"):
        check_finite(replace(EVENTS, points=points, verified=True))


def test_how_many_events_is_told():
    bad = replace(EVENTS, points=np.full((5, 2), np.inf, np.float32), verified=True)
    with pytest.raises(BadInput, match="inf in event 7 and 1 more of those read with it"):
        check_finite(bad)


def test_only_nan_stands_for_what_is_unknown():
    check_finite(with_one("energy", np.nan), {"energy"})
    with pytest.raises(BadInput, match="energy holds inf in event 8;"):
        check_finite(with_one("energy", np.inf), {"energy"})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("data", 1e300, "data holds 1e+300, which is beyond float32"),
        ("global", 1e300, "global holds 1e+300, which is beyond float32"),
        ("global", np.nan, "globals holds nan in event 19;"),
        ("data", np.nan, "features holds nan in event 19;"),
    ],
)
def test_a_file_with_such_a_number_is_not_staged(tmp_path, capsys, name, value, message):
    path = tmp_path / "jets.h5"
    arrays = {"data": np.ones((20, 10, 6)), "global": np.ones((20, 3)), "pid": np.zeros(20, int)}
    arrays[name].reshape(-1)[-1] = value
    with h5py.File(path, "w") as file:
        for each, values in arrays.items():
            file[each] = values
    folder, task = stage_task(tmp_path, {"train": (path,)}, experiment="omnilearned", neighbours=0)
    assert run(STAGE, [str(folder.path), "--part", "0"]) == Exit.BAD_INPUT
    assert message in capsys.readouterr().err
    assert not (task.store / "manifest.json").exists()
