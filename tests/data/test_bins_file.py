"""Bins that came with a published model: numbers are read, nothing is run."""

import json
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from pipeline.data.checksums import sha256
from pipeline.data.errors import BadInput
from pipeline.data.preparation.bins_file import published_bins

EDGES = {"eta": [0.0, 0.4, 1.0], "phi": [0.0, 0.3, 0.7, 1.0], "r": [0.1, 0.5, 0.9]}
ARRAYS = {name: np.array(each, np.float64) for name, each in EDGES.items()}
PICKLES = {
    "arrays by name": ARRAYS,
    "float32": {"eta": ARRAYS["eta"], "phi": ARRAYS["phi"], "radius": ARRAYS["r"]},
    "lists by name": OrderedDict((f"edges_{name}", each) for name, each in EDGES.items()),
    "three lists": list(EDGES.values()),
    "a tuple of arrays": tuple(ARRAYS.values()),
    "numbers of numpy": {name: [np.float64(x) for x in each] for name, each in EDGES.items()},
    "an array of objects": np.array([*EDGES.values()], dtype=object),
}


class Harmful:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return (print, ("unpickled",))


class Voxelizer:
    """An object as the authors' code might have."""

    def __init__(self):
        self.edges = ARRAYS


def pickled(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_of_numbers_is_read(tmp_path, name, protocol):
    path = pickled(tmp_path / "bins.pkl", PICKLES[name], protocol)
    bins = published_bins(path)
    assert bins.edges == tuple(map(tuple, EDGES.values()))
    assert (bins.source, bins.source_sha256) == (str(path), sha256(path))


def test_json_and_npz_are_read(tmp_path):
    (tmp_path / "bins.json").write_text(json.dumps(EDGES))
    np.savez(tmp_path / "bins.npz", **ARRAYS)
    found = [published_bins(tmp_path / f"bins.{end}").edges for end in ("json", "npz")]
    assert found == [tuple(map(tuple, EDGES.values()))] * 2


@pytest.mark.parametrize("content", [Harmful(), {"eta": Harmful()}, Voxelizer(), [print, 1, 2]])
def test_a_pickle_that_holds_anything_else_is_refused_and_nothing_runs(tmp_path, content, capsys):
    path = pickled(tmp_path / "bins.pkl", content)
    with pytest.raises(BadInput, match=r"not loaded, since a pickle may run code \(it holds "):
        published_bins(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"eta": [0, 1], "phi": [0, 1]}, "no edges of eta, phi and r, but eta, phi"),
        ([[0, 1], [0, 1]], "no edges of eta, phi and r, but list"),
        (7, "no edges of eta, phi and r, but int"),
        ({**EDGES, "phi": [0.0, 0.5, 0.5]}, "edges of phi are .*; expected two or more that rise"),
        ({**EDGES, "phi": [0.0, float("nan"), 1.0]}, "edges of phi are "),
        ({**EDGES, "r": [0.0]}, "edges of r are "),
        ({**EDGES, "eta": ["a", "b"]}, "edges of eta are no numbers"),
    ],
)
def test_what_are_no_bins_is_refused(tmp_path, content, message):
    with pytest.raises(BadInput, match=message):
        published_bins(pickled(tmp_path / "bins.pkl", content))


@pytest.mark.parametrize("end", ["pkl", "json", "npz"])
def test_a_damaged_file_is_refused(tmp_path, end):
    path = pickled(tmp_path / f"bins.{end}", ARRAYS)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BadInput, match=r"damaged|not loaded"):
        published_bins(path)


def test_a_missing_file_and_an_unknown_format_are_refused(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        published_bins(tmp_path / "bins.pkl")
    with pytest.raises(BadInput, match=r"ends in .json, .npz, .pkl or .pickle"):
        published_bins(tmp_path / "bins.txt")
