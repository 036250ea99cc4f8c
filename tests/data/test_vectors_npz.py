"""Jets as padded four-vectors in npz: read as OmniLearned's, or refused by name."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.data.errors import BadInput
from pipeline.data.experiments.omnilearned import OMNILEARNED
from pipeline.data.readers import opened

REAL = Path(__file__).parents[2].parent / "shared/data/top_tagging_2000jets.npz"


def vectors(jets=5, particles=7, *, seed=0):
    """Jets (E, 4, M) of massless particles, the last of each being padding."""
    rng = np.random.default_rng(seed)
    momentum = rng.normal(size=(jets, 3, particles)) + 2
    made = np.concatenate([momentum, np.linalg.norm(momentum, axis=1, keepdims=True)], axis=1)
    made[:, :, -1] = 0
    return made.astype(np.float32)


def written(path, **arrays):
    np.savez(path, **arrays)
    return path


def read(path, start=0, stop=None):
    with opened(path, OMNILEARNED) as entries:
        return entries.read(start, entries.count if stop is None else stop)


def test_momenta_come_back_relative_to_their_jet(tmp_path):
    made = vectors()
    found, rejected = read(written(tmp_path / "jets.npz", vectors=made, labels=[0, 1, 1, 0, 1]))
    assert found.sizes.tolist() == [6] * 5
    assert found.per_event["label"].tolist() == [0, 1, 1, 0, 1]
    assert sum(rejected.values()) == 0
    pt = np.hypot(made[:, 0, :6], made[:, 1, :6]).ravel()
    np.testing.assert_allclose(np.exp(found.column("log_pt")), pt, rtol=1e-5)
    jet = made.sum(axis=2)
    np.testing.assert_allclose(
        found.per_event["globals"][:, 0], np.hypot(jet[:, 0], jet[:, 1]), rtol=1e-5
    )


def test_a_range_of_the_file_keeps_its_places(tmp_path):
    path = written(tmp_path / "jets.npz", vectors=vectors(), labels=np.arange(5))
    found, _ = read(path, 2, 4)
    assert found.event_id.tolist() == found.per_event["label"].tolist() == [2, 3]


def test_what_cannot_be_a_jet_is_counted_and_left_out(tmp_path):
    made = vectors()
    made[1, 0, 2], made[3] = np.nan, 0
    found, rejected = read(written(tmp_path / "jets.npz", vectors=made, labels=np.arange(5)))
    assert found.per_event["label"].tolist() == [0, 2, 4]
    assert rejected == {"not_finite": 1, "no_particle": 1}


def test_jets_without_labels_have_none(tmp_path):
    found, _ = read(written(tmp_path / "jets.npz", vectors=vectors()))
    assert "label" not in found.per_event


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"jets": vectors()}, r"no array 'vectors', only jets. Expected vectors \(jets, 4"),
        ({"vectors": vectors().swapaxes(1, 2).copy()}, r"float32 \(5, 7, 4\); expected vectors"),
        ({"vectors": vectors(), "labels": [1, 2]}, r"labels has shape \(2,\); expected \(5,\)"),
        ({"vectors": vectors(), "labels": np.full(5, 0.5)}, "labels"),
    ],
)
def test_other_layouts_are_refused(tmp_path, arrays, message):
    with pytest.raises(BadInput, match=message):
        read(written(tmp_path / "jets.npz", **arrays))


@pytest.mark.skipif(not REAL.is_file(), reason="the real top-tagging sample is not here")
def test_the_real_sample_is_of_tops_and_qcd():
    found, rejected = read(REAL)
    assert len(found) == 2000
    assert np.bincount(found.per_event["label"]).tolist() == [1060, 940]
    assert sum(rejected.values()) == 0
    assert 500 < np.median(found.per_event["globals"][:, 0]) < 700


def test_a_wrong_letter_in_the_list_of_members_does_not_lose_the_labels(tmp_path):
    path = written(tmp_path / "jets.npz", vectors=vectors(), labels=np.arange(5))
    content = path.read_bytes()
    place = content.rindex(b"labels.npy")
    path.write_bytes(content[:place] + b"lacels.npy" + content[place + 10 :])
    with pytest.raises(BadInput, match="not a whole npz file"):
        read(path)
