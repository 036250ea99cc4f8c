"""Embedded points: the features of coordinates, and how energy and place are put together."""

import pytest

torch = pytest.importorskip("torch")

from pipeline.families.fm4npp.embedding import PROJECTED, Embedding, continuous, fourier, nerf
from pipeline.families.fm4npp.spec import projected_features


def test_nerf_makes_63_features_of_3_coordinates():
    x = torch.tensor([[0.0, 0.25, 0.5]])
    features = nerf(x)
    assert features.shape == (1, 63)
    torch.testing.assert_close(features[:, :3], x)
    # For each of the frequencies 1, 2, 4, ...: three sines, then three cosines; there is no π.
    torch.testing.assert_close(features[:, 3:9], torch.cat([x.sin(), x.cos()], 1))
    torch.testing.assert_close(features[:, 57:60], (512 * x).sin())


def test_fourier_has_bands_from_1_to_half_the_resolution():
    features = fourier(torch.tensor([[0.3, 0.0, 0.0]]))[0, 3::6]
    bands = torch.linspace(1, 10, 12)
    torch.testing.assert_close(features, (0.3 * torch.pi * bands).sin(), atol=1e-5, rtol=0)


def test_continuous_is_the_positional_encoding_at_any_place():
    features = continuous(torch.tensor([[0.005, 0.0, 0.0]]), 72)[0]
    expected = torch.tensor([5.0 / 1e4 ** (i / 12) for i in range(12)])
    torch.testing.assert_close(features[::6], expected.sin(), atol=1e-5, rtol=0)
    torch.testing.assert_close(features[3::6], expected.cos(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", PROJECTED)
def test_each_has_as_many_features_as_are_declared(name):
    assert PROJECTED[name](torch.rand(4, 3)).shape == (4, projected_features(name))


def test_continuous_fills_the_width_and_needs_no_projection():
    embedding = Embedding(64, "continuous")
    assert [name for name, _ in embedding.named_parameters()] == ["energy"]
    assert embedding(torch.rand(5, 4)).shape == (5, 64)


def test_concat_mixes_a_quarter_of_energy_with_the_position():
    embedding = Embedding(64, "none", "concat")
    points = torch.rand(5, 4)
    quarter, position = points[:, :1] @ embedding.energy, points[:, 1:] @ embedding.position
    assert quarter.shape == (5, 16)
    mixed = quarter @ embedding.mixed[:16] + position @ embedding.mixed[16:]
    torch.testing.assert_close(embedding(points), mixed)
