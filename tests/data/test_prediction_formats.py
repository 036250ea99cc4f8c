"""Predictions as ROOT trees and npz files: the same numbers, whole or not at all."""

import awkward
import numpy as np
import pytest
import uproot
from test_predictions import PREDICTED, SIZES, events, table

from pipeline.data.errors import BadInput
from pipeline.data.predictions import read
from pipeline.data.predictions.formats import check_ending, save

FLAT = {name: values for name, values in PREDICTED.items() if name != "where"}


def rows(predicted=FLAT, of=None):
    """Two tables of the same events, of other files."""
    for file in ("a.root", "b.root"):
        made = table(predicted, of)
        yield type(made)(made.described, made.events, [file] * 3, made.entry, predicted).arrow()


def test_a_tree_has_one_counter_and_the_names_of_the_files(tmp_path):
    assert save(tmp_path / "p.root", rows()) == 6
    with uproot.open(tmp_path / "p.root") as file:
        tree = file["predictions"]
        found = tree.arrays()
        assert str(file["files"]).split("\n") == ["a.root", "b.root"]
        assert tree["track"].count_branch.name == "n_points"
    assert found.file.tolist() == [0, 0, 0, 1, 1, 1]
    assert awkward.num(found.track).tolist() == SIZES * 2
    expected = np.concatenate([FLAT["probabilities"][:, 1]] * 2)
    assert np.array_equal(awkward.flatten(found.probability_noise), expected)
    assert np.array_equal(found.energy, np.concatenate([FLAT["energy"]] * 2))


def test_an_npz_has_the_points_one_after_another(tmp_path):
    save(tmp_path / "p.npz", rows(PREDICTED))
    with np.load(tmp_path / "p.npz", allow_pickle=False) as found:
        assert found["files"].tolist() == ["a.root", "b.root"]
        assert np.diff(found["offsets"]).tolist() == SIZES * 2
        assert np.array_equal(found["track"], np.concatenate([PREDICTED["track"]] * 2))
        assert np.array_equal(found["where"], np.concatenate([PREDICTED["where"]] * 2))
        assert found["event_id"].tolist() == [100, 101, 102] * 2


def test_without_points_there_are_no_offsets(tmp_path):
    per_event = events()
    per_event.per_point.clear()
    for name in ("p.npz", "p.root"):
        save(tmp_path / name, rows({"energy": FLAT["energy"]}, per_event))
    with np.load(tmp_path / "p.npz") as found:
        assert "offsets" not in found
    with uproot.open(tmp_path / "p.root") as file:
        assert file["predictions"].keys() == ["event_id", "file", "entry", "energy"]


@pytest.mark.parametrize("ending", [".parquet", ".root", ".npz"])
def test_nothing_half_written_stays(tmp_path, ending):
    def fails():
        yield from rows()
        message = "no more"
        raise OSError(message)

    with pytest.raises(OSError, match="no more"):
        save(tmp_path / f"p{ending}", fails())
    assert list(tmp_path.iterdir()) == []
    save(tmp_path / f"p{ending}", rows())
    assert [path.name for path in tmp_path.iterdir()] == [f"p{ending}"]


def test_what_a_format_cannot_hold_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"a ROOT tree cannot hold where, lists of lists"):
        save(tmp_path / "p.root", rows(PREDICTED))
    assert list(tmp_path.iterdir()) == []
    save(tmp_path / "p.parquet", rows(PREDICTED))
    assert read(tmp_path / "p.parquet").where[0].tolist() == PREDICTED["where"][0].tolist()


def test_a_name_that_cannot_be_written_is_refused_before_anything_is_predicted(tmp_path):
    (tmp_path / "there.root").touch()
    for name, message in {
        "p.csv": r"p\.csv: a name that ends in none of \.parquet, \.root, \.npz",
        "there.root": r"there\.root: is there already. Name another file with --to",
        "none/p.npz": r"p\.npz: there is no folder .*none. Make it, or name another",
    }.items():
        with pytest.raises(BadInput, match=message):
            check_ending(tmp_path / name)
