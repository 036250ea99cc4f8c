import numpy as np
import pytest

from pipeline.data.errors import BadInput
from pipeline.data.preparation.bins import Bins, fit_bins, read_bins


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(3).random((6000, 3)).astype(np.float32) ** 2


@pytest.fixture(scope="module")
def bins(points):
    return fit_bins(points, (4, 5, 6), source="made.npz")


def test_edges_rise_from_0_to_1(bins):
    for edges, count in zip((bins.eta, bins.phi, bins.r), (4, 5, 6), strict=True):
        assert len(edges) == count + 1
        assert (edges[0], edges[-1]) == (0.0, 1.0)
        assert (np.diff(edges) > 0).all()


def test_eta_and_phi_bins_hold_equal_counts(bins, points):
    indices = bins.indices(points)
    assert np.ptp(np.bincount(indices[:, 0])) <= 2
    assert np.ptp(np.bincount(indices[:, 1])) <= 2


def test_r_bins_are_split_at_40_and_57_cm_and_equal_inside_a_group(bins, points):
    span = 75.38493347167969 - 31.371997833251953
    assert bins.r[2] == pytest.approx((40 - 31.371997833251953) / span)
    assert bins.r[4] == pytest.approx((57 - 31.371997833251953) / span)
    counts = np.bincount(bins.indices(points)[:, 2])
    assert abs(counts[0] - counts[1]) <= 2
    assert abs(counts[2] - counts[3]) <= 2
    assert abs(counts[4] - counts[5]) <= 2


def test_points_outside_go_to_the_first_or_last_bin(bins):
    outside = np.array([[-1, -1, -1], [2, 2, 2]], np.float32)
    assert bins.indices(outside).tolist() == [[0, 0, 0], [3, 4, 5]]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("EPR", 1 * 12 + 1 * 4 + 3),
        ("REP", 3 * 6 + 1 * 3 + 1),
        ("RPE", 3 * 6 + 1 * 2 + 1),
        ("PER", 1 * 8 + 1 * 4 + 3),
        ("none", 0),
    ],
)
def test_the_first_letter_of_the_order_is_the_slowest(order, expected):
    bins = Bins(eta=(0.0, 0.5, 1.0), phi=(0.0, 0.3, 0.6, 1.0), r=(0.0, 0.25, 0.5, 0.75, 1.0))
    point = np.array([[0.9, 0.4, 0.8]], np.float32)
    assert bins.indices(point).tolist() == [[1, 1, 3]]
    assert bins.groups(point, order).tolist() == [expected]


def test_bins_survive_the_round_trip(bins, tmp_path):
    bins.write(tmp_path / "bins.json")
    assert read_bins(tmp_path / "bins.json") == bins


def test_missing_bins_are_an_error_never_a_refit(tmp_path):
    with pytest.raises(BadInput, match=r"no voxel bins here.*--begin"):
        read_bins(tmp_path / "bins.json")


def test_bins_in_r_must_divide_by_the_groups(points):
    with pytest.raises(BadInput, match="multiple of 3"):
        fit_bins(points, (4, 4, 5), source="made.npz")


def test_an_empty_group_of_pad_rows_cannot_be_binned(points):
    inner = points[points[:, 2] < 0.5]
    with pytest.raises(BadInput, match=r"made.npz: no point in pad-row group 3 of 3"):
        fit_bins(inner, (2, 2, 3), source="made.npz")
