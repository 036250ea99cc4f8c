"""Losses of a learnt space: their pairs, by hand, and what each pair costs."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from made_batches import batch, part
from made_tracks import with_truth

from pipeline.nn import space_losses
from pipeline.nn.graphs import Space, sorted_edges
from pipeline.nn.space_losses import (
    Contrastive,
    Hinge,
    any_pairs,
    pairs_of,
    track_edges,
    with_true,
)

# Two points of one track, one of another, one of noise, at known places.
TRACK = torch.tensor([1, 1, 2, 0])
PLACES = torch.tensor([[0.0, 0.0], [0.3, 0.4], [0.0, 0.8], [2.0, 0.0]])


def four():
    return with_truth(batch([4]), track=TRACK)


def test_a_pair_of_a_track_costs_its_square_and_another_what_the_margin_lacks():
    pairs = torch.tensor([[0, 0, 1, 3, 3], [1, 2, 2, 0, 3]])
    found = Contrastive(1.0).part(PLACES, pairs, four())
    apart = [(1 - 0.8) ** 2, (1 - 0.5) ** 2, 0.0, 1.0]
    assert found.item() == pytest.approx((0.25 + sum(apart)) / 5, abs=1e-5)


def test_the_three_means_of_the_contrastive_loss_count_the_same(monkeypatch):
    space, data = Space(PLACES, torch.arange(4), Contrastive(1.0, 1, 2)), four()
    monkeypatch.setattr(space_losses, "any_pairs", lambda *_: torch.tensor([[3, 0], [3, 2]]))
    signal, far = 0.25, (1 - 0.8) ** 2
    # Nearest are 1 of 0, 0 or 2 of 1 (0.5 each), 1 of 2, and 0 or 1 of 3, beyond the margin.
    near = [0.25, 0.25, 0.25, 0.0]
    expected = signal + sum(near) / 4 + (1.0 + far) / 2
    assert space.loss(space, data).item() == pytest.approx(expected, abs=1e-4)


def test_the_hinge_is_of_squares_and_its_sides_are_means_of_their_own():
    pairs, true = torch.tensor([[0, 0, 1], [1, 2, 3]]), torch.tensor([True, False, False])
    found = Hinge(margin=1.0, true_weight=2.0).cost(PLACES, pairs, true, four())
    assert found.item() == pytest.approx((1 - 0.64 + 0) / 2 + 2 * 0.25, abs=1e-5)


def test_events_count_alike_whatever_their_pairs():
    data = batch([30, 4, 9])
    space = torch.randn(43, 3, generator=torch.Generator().manual_seed(1))
    for loss in (Contrastive(1.0, 3, 50), Hinge(0.8, 0.9, 4)):
        whole = loss(Space(space, data.points[:, 3], loss), data)
        places = zip(space.split([30, 4, 9]), data.points[:, 3].split([30, 4, 9]), strict=True)
        alone = [
            loss(Space(x, along, loss), part(data, [number]))
            for number, (x, along) in enumerate(places)
        ]
        torch.testing.assert_close(whole, torch.stack(alone).mean())


@pytest.mark.parametrize("loss", [Contrastive(1.0, 3, 50), Hinge(0.8, 0.9, 4)])
def test_an_event_of_noise_alone_or_of_one_point_has_a_loss(loss):
    data = with_truth(batch([5, 1]), track=torch.zeros(6, dtype=torch.int64))
    space = torch.randn(6, 3, requires_grad=True)
    found = loss(Space(space, torch.arange(6), loss), data)
    found.backward()
    assert found.isfinite()
    assert space.grad.isfinite().all()


def test_points_of_a_track_follow_each_other_outwards():
    data = with_truth(batch([5, 3]), track=torch.tensor([7, 0, 7, 7, 4, 7, 7, 0]))
    along = torch.tensor([0.5, 0.1, 0.9, 0.2, 0.3, 0.8, 0.4, 0.6])
    assert track_edges(along, data).T.tolist() == [[3, 0], [0, 2], [6, 5]]
    none = with_truth(data, track=torch.zeros(8, dtype=torch.int64))
    assert track_edges(along, none).shape == (2, 0)


def test_candidates_are_distinct_and_true_edges_stand_beside_them_both_ways():
    candidates = torch.tensor([[2, 0, 0, 1, 0], [0, 1, 1, 1, 3]])
    pairs, true = with_true(candidates, torch.tensor([[1], [0]]), 4)
    assert pairs.T.tolist() == [[0, 1], [0, 3], [1, 1], [2, 0], [1, 0], [0, 1]]
    assert true.tolist() == [True, False, False, False, True, True]


def test_the_regime_decides_which_pairs_are_candidates(monkeypatch):
    data, seen = batch([30]), []
    joined = space_losses.with_true
    monkeypatch.setattr(space_losses, "with_true", lambda c, *a: seen.append(c) or joined(c, *a))
    space = torch.randn(30, 3, generator=torch.Generator().manual_seed(1))
    near, random = Hinge(random_pairs=0, radius=9.0, neighbours=4), Hinge(neighbours=1)
    for loss in (near, random):
        loss(Space(space, data.points[:, 3], loss), data)
    ends = track_edges(data.points[:, 3], data).unique()
    assert 0 < len(ends) < 30
    assert [each.shape[1] for each in seen] == [3 * len(ends), 2 * len(ends)]
    for pairs in seen:
        assert torch.isin(pairs[0], ends).all()
    assert (seen[0][0] != seen[0][1]).all()


def test_random_pairs_are_of_one_event_reach_everybody_and_depend_on_it_alone():
    data = batch([12, 1, 40])
    pairs = any_pairs(4000, data)
    assert torch.equal(data.event[pairs[0]], data.event[pairs[1]])
    assert data.event[pairs[0]].bincount().tolist() == [4000] * 3
    mine = pairs[:, data.event[pairs[0]] == 2] - 13
    assert torch.equal(mine, any_pairs(4000, part(data, [2])))
    counts = np.bincount((mine[0] * 40 + mine[1]).numpy(), minlength=1600)
    # As of numbers that are drawn by chance: 2.5 of each pair on average, as spread as that.
    assert counts.var() == pytest.approx(counts.mean(), rel=0.2)
    ends = torch.tensor([3, 5, 20, 30, 31])
    drawn = pairs_of(ends, 300, data)
    assert data.event[drawn[0]].bincount().tolist() == [600, 0, 900]
    assert torch.equal(data.event[drawn[0]], data.event[drawn[1]])
    assert drawn[0].unique().tolist() == ends.tolist()
    assert len(drawn[1].unique()) == 52
    alone = pairs_of(ends[2:] - 13, 300, part(data, [2])) + 13
    assert torch.equal(sorted_edges(drawn[:, 600:], 53), sorted_edges(alone, 53))


def test_a_point_beside_itself_has_no_slope_that_is_no_number():
    space = torch.zeros(4, 2, requires_grad=True)
    Contrastive().part(space, torch.tensor([[0, 2, 3], [0, 2, 3]]), four()).backward()
    assert math.isfinite(space.grad.abs().sum().item())
