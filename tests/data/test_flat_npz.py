"""Points of a user's own experiment, in flat npz files and a Python file from anywhere."""

import numpy as np
import pytest

from pipeline.campaign import Dataset
from pipeline.catalog import DeclarationError, parse
from pipeline.data.errors import BadInput
from pipeline.data.experiments import check, experiment
from pipeline.data.readers.flat_npz import flat_npz

OPEN = flat_npz(("x", "y", "mass"), per_point=("kind",), per_event=("label",))
SIZES = np.array([2, 0, 3])
GOOD = {
    "points": np.arange(15, dtype=">f8").reshape(5, 3),
    "sizes": SIZES,
    "kind": np.array([1, 2, 3, 4, 5], ">i2"),
    "label": np.array([7, 8, 9], np.uint8),
}
OWN = """
from pipeline.data.experiment import Column, Experiment
from pipeline.data.readers.flat_npz import flat_npz

COLUMNS = tuple(
    Column(name=name, unit="m", offset=0.0, scale=1.0, provenance="") for name in ("x", "y", "mass")
)
STARS = Experiment(name="stars", title="", columns=COLUMNS, readers={".npz": flat_npz(("x", "y"))})
NONE = 3
"""


def written(tmp_path, **changes):
    arrays = {**GOOD, **changes}
    path = tmp_path / "some.npz"
    np.savez(path, **{name: each for name, each in arrays.items() if each is not None})
    return path


def test_any_range_of_events_is_as_it_was_written(tmp_path):
    with OPEN(written(tmp_path)) as entries:
        assert entries.count == 3
        events, rejected = entries.read(1, 3)
        assert rejected == {}
        assert events.sizes.tolist() == [0, 3]
        np.testing.assert_array_equal(events.column("mass"), [8, 11, 14])
        assert events.per_point["kind"].tolist() == [3, 4, 5]
        assert events.per_point["kind"].dtype == np.int16
        assert events.per_event["label"].tolist() == [8, 9]
        assert entries.read(0, 1)[0].event_id.tolist() == [0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": None}, r"no array 'label'.*Expected points \(points, 3\) of x, y, mass"),
        ({"points": np.ones((5, 4))}, r"points has shape \(5, 4\); expected points \(points, 3\)"),
        ({"sizes": np.array([2, 0, 4])}, "sizes sum to 6, but there are 5 points"),
        ({"sizes": np.array([-1, 3, 3])}, "sizes sum to 5"),
        ({"sizes": SIZES.astype(float)}, r"sizes is float64 \(3,\)"),
        ({"kind": np.arange(4)}, r"kind has shape \(4,\); expected 5 rows"),
        ({"label": np.arange(5)}, r"label has shape \(5,\); expected 3 rows"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(tmp_path, changes, message):
    path = written(tmp_path, **changes)
    with pytest.raises(BadInput, match=message), OPEN(path):
        pass


def test_a_point_that_is_no_number_is_refused(tmp_path):
    points = GOOD["points"].copy()
    points[4, 0] = np.nan
    with OPEN(written(tmp_path, points=points)) as entries, pytest.raises(BadInput, match="NaN"):
        entries.read(0, 3)


def test_an_experiment_of_a_users_own_file(tmp_path):
    (tmp_path / "stars.py").write_text(OWN)
    name = f"{tmp_path}/stars.py:STARS"
    check(name)
    assert experiment(name).name == "stars"
    with pytest.raises(BadInput, match=r"NONE is no Experiment\. See docs/other-disciplines\.md"):
        experiment(f"{tmp_path}/stars.py:NONE")
    with pytest.raises(BadInput, match="it defines no 'SUNS'"):
        experiment(f"{tmp_path}/stars.py:SUNS")
    with pytest.raises(BadInput, match=r"unknown.*your own is file\.py:NAME"):
        check("stars")


def test_a_campaign_names_the_file_from_the_root_on(tmp_path, monkeypatch):
    (tmp_path / "stars.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    source = {"folder": "files", "splits": {"train": ["*.npz"]}}
    found = parse(Dataset, {"experiment": "stars.py:STARS", **source})
    assert found.experiment == f"{tmp_path}/stars.py:STARS"
    with pytest.raises(DeclarationError, match=r"suns\.py: no such file"):
        parse(Dataset, {"experiment": "suns.py:STARS", **source})
    with pytest.raises(DeclarationError, match="experiment"):
        parse(Dataset, {"experiment": "Stars", **source})
