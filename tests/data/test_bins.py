import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.checksums import sha256
from pipeline.data.errors import BadInput
from pipeline.data.preparation.bins import Bins, fit_bins, read_bins

LIMITS = (0.196, 0.582)  # the two gaps of sPHENIX's pad rows, normalised


def fit(points, counts, **changes):
    asked = {"limits": LIMITS, "source": "made.npz", "source_sha256": "0" * 64}
    return fit_bins(points, counts, **{**asked, **changes})


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(3).random((6000, 3)).astype(np.float32) ** 2


@pytest.fixture(scope="module")
def bins(points):
    return fit(points, (4, 5, 6))


def test_edges_rise_from_0_to_1_and_in_the_third_axis_from_the_least_to_the_largest(bins, points):
    for edges, count in zip(bins.edges, (4, 5, 6), strict=True):
        assert len(edges) == count + 1
        assert (np.diff(edges) > 0).all()
    assert [(edges[0], edges[-1]) for edges in bins.edges[:2]] == [(0.0, 1.0)] * 2
    third = points[:, 2].astype(float)
    assert (bins.edges[2][0], bins.edges[2][-1]) == (third.min(), third.max())


def test_edges_between_groups_are_in_the_middle_of_the_gap():
    points = np.zeros((6, 3), np.float32)
    points[:, 2] = 0.1, 0.15, 0.3, 0.4, 0.8, 0.9
    third = fit(points, (1, 1, 3)).edges[2]
    np.testing.assert_allclose(third, (0.1, (0.15 + 0.3) / 2, (0.4 + 0.8) / 2, 0.9), rtol=1e-6)


def test_edges_lie_at_the_ranks_of_the_published_code():
    points = np.zeros((8, 3), np.float32)
    points[:, 0] = np.linspace(0.1, 0.8, 8)  # the ranks 8 i / 4 are those of 0.3, 0.5 and 0.7
    edges = fit(points, (4, 1, 1), limits=()).edges[0]
    np.testing.assert_allclose(edges, (0, 0.3, 0.5, 0.7, 1), rtol=1e-6)
    odd = fit(points[:7], (4, 1, 1), limits=()).edges[0]
    np.testing.assert_allclose(odd, (0, 0.275, 0.45, 0.625, 1), rtol=1e-6)


def test_a_value_on_an_edge_belongs_to_the_bin_below():
    bins = Bins(((0.0, 0.1, 1.0), (0.0, 0.1, 1.0), (0.2, 0.6, 1.0)), "made", "", 1)
    edge = np.float32(0.1)
    position = np.array([[edge, np.nextafter(edge, np.float32(1)), 0.2]], np.float32)
    assert bins.indices(position).tolist() == [[0, 1, 0]]


def test_they_remember_the_sample(bins):
    assert (bins.source, bins.source_sha256, bins.points) == ("made.npz", "0" * 64, 6000)


def test_bins_of_the_first_two_axes_hold_equal_counts(bins, points):
    indices = bins.indices(points)
    assert np.ptp(np.bincount(indices[:, 0])) <= 2
    assert np.ptp(np.bincount(indices[:, 1])) <= 2


def test_bins_of_the_third_are_split_at_the_limits_and_equal_inside_a_group(bins, points):
    np.testing.assert_allclose((bins.edges[2][2], bins.edges[2][4]), LIMITS, atol=1e-3)
    counts = np.bincount(bins.indices(points)[:, 2])
    assert abs(counts[0] - counts[1]) <= 4
    assert abs(counts[2] - counts[3]) <= 4
    assert abs(counts[4] - counts[5]) <= 4


def test_without_limits_all_three_axes_have_equal_counts(points):
    indices = fit(points, (4, 5, 7), limits=()).indices(points)
    assert all(np.ptp(np.bincount(indices[:, axis])) <= 2 for axis in range(3))


def test_points_outside_go_to_the_first_or_last_bin(bins):
    outside = np.array([[-1, -1, -1], [2, 2, 2]], np.float32)
    assert bins.indices(outside).tolist() == [[0, 0, 0], [3, 4, 5]]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("RPE", 1 * 12 + 1 * 4 + 3),
        ("PER", 3 * 6 + 1 * 3 + 1),
        ("EPR", 3 * 6 + 1 * 2 + 1),
        ("REP", 1 * 8 + 1 * 4 + 3),
    ],
)
def test_the_first_letter_of_the_order_is_the_fastest(order, expected):
    edges = ((0.0, 0.5, 1.0), (0.0, 0.3, 0.6, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0))
    bins = Bins(edges, "made", "", 1)
    point = np.array([[0.9, 0.4, 0.8]], np.float32)
    assert bins.indices(point).tolist() == [[1, 1, 3]]
    assert bins.groups(point, order).tolist() == [expected]


@settings(deadline=None, max_examples=50)
@given(
    counts=st.tuples(*[st.integers(1, 5)] * 3),
    order=st.permutations("EPR").map("".join),
    place=st.integers(0, 1000),
)
def test_letters_go_from_fast_to_slow(counts, order, place):
    """One step along an axis is as many voxels as the axes before it have together."""
    edges = tuple(tuple(np.linspace(0, 1, count + 1).tolist()) for count in counts)
    bins = Bins(edges, "made", "", 1)
    index = np.array(np.unravel_index(place % np.prod(counts), counts))
    centre = ((index + 0.5) / counts).astype(np.float32)
    steps, step = {}, 1
    for letter in order:
        steps[letter], step = step, step * counts["EPR".index(letter)]
    number = sum(steps[letter] * int(index["EPR".index(letter)]) for letter in order)
    assert bins.groups(centre[None], order).tolist() == [number]


def test_bins_survive_the_round_trip(bins, tmp_path):
    bins.write(tmp_path / "bins.json")
    assert read_bins(tmp_path / "bins.json") == bins


def test_the_same_bins_give_the_same_bytes(bins, points, tmp_path):
    bins.write(tmp_path / "one.json")
    fit(points, (4, 5, 6)).write(tmp_path / "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_missing_bins_are_an_error_never_a_refit(tmp_path):
    with pytest.raises(BadInput, match=r"bins.json: no voxel bins here.*--begin"):
        read_bins(tmp_path / "bins.json")


@pytest.mark.parametrize("content", ["{", "[1, 2]", "\xff"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "bins.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(BadInput, match=r"bins.json: damaged.*restore the file"):
        read_bins(tmp_path / "bins.json")


def test_bins_of_another_version_are_refused(bins, tmp_path):
    path = tmp_path / "bins.json"
    bins.write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 1}))
    with pytest.raises(BadInput, match=r"bins.json: not voxel bins of version 3"):
        read_bins(path)


def test_a_changed_value_is_found(bins, tmp_path):
    path = tmp_path / "bins.json"
    bins.write(path)
    path.write_text(path.read_text().replace('"points": 6000', '"points": 6001'))
    with pytest.raises(BadInput, match=r"bins.json: not what was written \(SHA-256 differs\)"):
        read_bins(path)


@settings(deadline=None, max_examples=25)
@given(place=st.integers(0), flip=st.integers(1, 255))
def test_a_changed_byte_is_refused_or_changes_no_value(bins, tmp_path_factory, place, flip):
    path = tmp_path_factory.mktemp("bins") / "bins.json"
    bins.write(path)
    content = bytearray(path.read_bytes())
    whole = sha256(path)
    content[place % len(content)] ^= flip
    path.write_bytes(bytes(content))
    assert sha256(path) != whole  # as the manifest of the store has it
    try:
        assert read_bins(path) == bins
    except BadInput as error:
        assert "bins.json" in str(error)  # noqa: PT017


def test_bins_of_the_third_axis_must_divide_by_the_groups(points):
    with pytest.raises(BadInput, match="multiple of 3"):
        fit(points, (4, 4, 5))


def test_an_empty_group_cannot_be_binned(points):
    inner = points[points[:, 2] < 0.5]
    with pytest.raises(BadInput, match=r"made.npz: no point in group 3 of 3"):
        fit(inner, (2, 2, 3))


def test_a_change_is_another_value(bins):
    assert replace(bins, source="other") != bins
