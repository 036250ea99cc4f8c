"""Embedded points: the features of coordinates, and how energy and place are put together."""

import pytest

torch = pytest.importorskip("torch")

from pipeline.families.fm4npp.embedding import ENCODINGS, Embedding, continuous, fourier, nerf
from pipeline.families.fm4npp.spec import encoded_features


def test_nerf_makes_63_features_of_3_coordinates():
    features = nerf(torch.tensor([[0.0, 0.25, 0.5]]))
    assert features.shape == (1, 63)
    torch.testing.assert_close(features[0, 3 + 10], torch.tensor(0.25 * torch.pi).sin())


def test_fourier_has_bands_from_1_to_half_the_resolution():
    features = fourier(torch.tensor([[0.3, 0.0, 0.0]]))[0, 3:39].view(3, 12)[0]
    bands = torch.linspace(1, 10, 12)
    torch.testing.assert_close(features, (0.3 * torch.pi * bands).sin(), atol=1e-5, rtol=0)


def test_continuous_is_the_positional_encoding_at_any_place():
    features = continuous(torch.tensor([[0.005, 0.0, 0.0]]))[0]
    expected = torch.tensor([5.0 / 1e4 ** (i / 12) for i in range(12)])
    torch.testing.assert_close(features[:12], expected.sin(), atol=1e-5, rtol=0)
    torch.testing.assert_close(features[36:48], expected.cos(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ENCODINGS)
def test_each_has_as_many_features_as_are_declared(name):
    assert ENCODINGS[name](torch.rand(4, 3)).shape == (4, encoded_features(name))


def test_side_by_side_keeps_energy_and_place_apart():
    embedding = Embedding(64, "none", "concat")
    points = torch.rand(5, 4)
    moved = points.clone()
    moved[:, 0] += 1
    before, after = embedding(points), embedding(moved)
    assert torch.equal(before[:, 32:], after[:, 32:])
    assert not torch.equal(before[:, :32], after[:, :32])
    assert before.shape == (5, 64)
