"""Graphs of near points and networks on them: the same edges everywhere, none across events."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from made_batches import batch, packed, part
from made_tracks import with_truth
from torch import nn

from pipeline.families.eggnet.spec import EggNet
from pipeline.families.exatrkx.spec import ExaTrkX
from pipeline.families.graphsage.spec import GraphSAGE
from pipeline.nn import graph_losses as objectives
from pipeline.nn import graphs, systems
from pipeline.nn.graphs import (
    Candidates,
    Graph,
    Space,
    both_ways,
    by_distances,
    features,
    nearest,
    places,
    sorted_edges,
    way_back,
    ways,
)
from pipeline.nn.message_passing import (
    Attention,
    Interaction,
    Layered,
    OfEdges,
    mean,
    most,
    shares,
    total,
)

SIZES = [30, 1, 2, 50]
OFFSETS = torch.tensor([0, 30, 31, 33, 83])


def points(dimensions, *, count=83, seed=0):
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def expected(x, count, radius=math.inf):
    """All edges (2, E), from all distances of each event."""
    found = []
    for start, stop in zip(OFFSETS[:-1].tolist(), OFFSETS[1:].tolist(), strict=True):
        for point in range(start, stop):
            gap = (x[start:stop].double() - x[point].double()).norm(dim=1)
            gap[point - start] = math.inf
            near = gap.argsort()[: min(count, stop - start - 1)]
            found += [(other + start, point) for other in near[gap[near] < radius].tolist()]
    return torch.tensor(sorted(found, key=lambda edge: edge[::-1])).T


@pytest.mark.parametrize("dimensions", [2, 3, 24])
@pytest.mark.parametrize("radius", [math.inf, 0.8])
def test_neighbours_are_those_of_all_distances(dimensions, radius):
    x = points(dimensions) / dimensions
    found = nearest(x, OFFSETS, 4, radius)
    assert found.dtype == torch.int64
    assert torch.equal(found, expected(x, 4, radius))
    limited = found.shape[1] < 30 * 4 + 2 + 50 * 4
    assert limited == (radius < math.inf and dimensions < 24)


@pytest.mark.parametrize("dimensions", [3, 24])
@pytest.mark.parametrize("radius", [math.inf, 0.5])
def test_trees_and_distances_find_the_same(monkeypatch, dimensions, radius):
    x = points(dimensions) * 0.6 / dimensions
    by_trees = nearest(x, OFFSETS, 5, radius)
    monkeypatch.setattr(graphs, "AT_ONCE", 60)
    monkeypatch.setattr(graphs, "_by_tree", by_distances)
    assert by_trees.shape[1]
    assert torch.equal(nearest(x, OFFSETS, 5, radius), by_trees)


def test_an_accelerator_holds_few_distances_at_a_time(monkeypatch):
    monkeypatch.setattr(graphs, "AT_ONCE", 1000)
    asked = []
    every = torch.cdist

    def spied(a, b, **how):
        asked.append(len(a) * len(b))
        return every(a, b, **how)

    monkeypatch.setattr(torch, "cdist", spied)
    by_distances(points(3, count=300), 4)
    assert max(asked) <= 1000
    assert sum(asked) == 300 * 300


def test_a_point_alone_and_an_event_of_no_near_points_have_no_edges():
    assert nearest(points(3, count=1), torch.tensor([0, 1]), 5).shape == (2, 0)
    assert nearest(points(3), OFFSETS, 5, radius=1e-9).shape == (2, 0)
    empty = torch.empty(2, 0, dtype=torch.int64)
    assert both_ways(empty, 3).shape == (2, 0)
    assert way_back(empty, 3).shape == (0,)


def test_the_same_points_are_neighbours_of_each_other_and_not_of_themselves():
    x = torch.zeros(6, 3)
    edges = nearest(x, torch.tensor([0, 6]), 2)
    assert (edges[0] != edges[1]).all()
    assert edges[1].bincount().tolist() == [2] * 6


def test_points_that_are_no_numbers_are_left_to_the_loss():
    x = points(3)
    x[4] = torch.nan
    assert nearest(x, OFFSETS, 3).shape[1] > 0


def test_edges_follow_their_points():
    x, order = points(3, count=50), torch.randperm(50)
    offsets = torch.tensor([0, 50])
    before = nearest(x, offsets, 4)
    after = nearest(x[order], offsets, 4)
    assert torch.equal(sorted_edges(order[after], 50), before)


def test_each_edge_has_its_way_back_once():
    edges = both_ways(nearest(points(3), OFFSETS, 4), 83)
    pairs = list(map(tuple, edges.T.tolist()))
    assert len(set(pairs)) == len(pairs)
    assert torch.equal(sorted_edges(edges, 83), edges)
    assert torch.equal(edges[:, way_back(edges, 83)], edges.flip(0))


def test_phi_has_no_seam():
    x = torch.tensor([[0.0, 0.5, 0.001, 0.5], [0.0, 0.5, 0.999, 0.5], [0.0, 0.5, 0.1, 0.5]])
    assert nearest(places(x), torch.tensor([0, 3]), 1)[0].tolist() == [1, 0, 0]
    torch.testing.assert_close(features(x)[0], features(x)[1], rtol=0, atol=0.02)
    along = ways(x, torch.tensor([[0], [1]]))
    torch.testing.assert_close(
        along, torch.tensor([[0.0, -1.0, 0.0, 1 + math.log(0.002) / 4]]), rtol=1e-3, atol=1e-5
    )


def test_a_way_back_goes_the_other_way_and_no_way_is_a_number():
    x = packed([20]).points
    edges = both_ways(nearest(x, torch.tensor([0, 20]), 3), 20)
    along, back = ways(x, edges), ways(x, edges)[way_back(edges, 20)]
    torch.testing.assert_close(along[:, :3], -back[:, :3])
    torch.testing.assert_close(along[:, 3], back[:, 3])
    assert ways(x * 0, edges).isfinite().all()


def test_sums_means_and_maxima_are_of_the_edges_that_end_there():
    values, into = -points(4, count=7).abs(), torch.tensor([0, 0, 0, 2, 2, 3, 3])
    for f, plain in ((total, torch.sum), (mean, torch.mean), (most, torch.amax)):
        found = f(values, into, 5)
        for point in (0, 2, 3):
            torch.testing.assert_close(found[point], plain(values[into == point], 0))
        assert not found[[1, 4]].any()
    weight = shares(values[:, 0] * 300, into, 5)
    assert weight.isfinite().all()
    torch.testing.assert_close(total(weight, into, 5), torch.tensor([1.0, 0, 1, 1, 0]))


@pytest.mark.parametrize("own", [0, 3])
def test_the_map_of_both_ends_is_that_of_them_side_by_side(own):
    net, x = OfEdges(5, 8, 2, state_width=own), points(5, count=30)
    edges = nearest(x, torch.tensor([0, 30]), 4)
    state = points(3, count=edges.shape[1]) if own else None
    weights = [net.begins.weight, net.ends.weight, *([net.of_state.weight] if own else [])]
    together = [x[edges[0]], x[edges[1]], *([state] if own else [])]
    plain = torch.cat(together, 1) @ torch.cat(weights, 1).T + net.ends.bias
    torch.testing.assert_close(net(x, edges, state), net.rest(net.first(plain)))


@pytest.mark.parametrize("make", [Attention, Interaction])
def test_a_point_without_edges_is_looked_at_by_itself(make):
    torch.manual_seed(0)
    layer, x = make(8, 2), points(8, count=5)
    edges = torch.tensor([[1, 0], [0, 1]])
    states = [torch.zeros(2, 8)] if make is Interaction else []
    found = layer(x, *states, edges)
    told = found[0] if make is Interaction else found
    x[1] += 1.0
    again = layer(x, *states, edges)
    after = again[0] if make is Interaction else again
    assert torch.equal(told[2:], after[2:])
    assert not torch.equal(told[0], after[0])


def test_layers_are_linear_normed_and_active():
    net = Layered(3, 6, 2, nn.Tanh)
    assert [type(each) for each in net] == [nn.Linear, nn.LayerNorm, nn.Tanh] * 2
    assert len(Layered(3, 6, 0)) == 0


def two_tracks():
    """Two points of one track, one of another, one of noise, at known places."""
    data = batch([4])
    space = torch.tensor([[0.0, 0.0], [0.3, 0.4], [0.0, 0.8], [2.0, 0.0]])
    return with_truth(data, track=torch.tensor([1, 1, 2, 0])), space


@pytest.mark.parametrize("repulsion", ["square", "hinge"])
def test_a_track_is_drawn_together_and_all_else_apart(monkeypatch, repulsion):
    data, space = two_tracks()
    pairs = torch.tensor([[0, 0, 1, 3, 3], [1, 2, 2, 0, 3]])
    monkeypatch.setattr(objectives, "_pairs", lambda *_: pairs)
    loss = objectives.distances(Space(space, 1.0, repulsion), data)
    second, gap = 0.8, math.sqrt(0.09 + 0.16)
    apart = {
        "square": [(1 - second) ** 2, (1 - gap) ** 2, 0.0, 1.0],
        "hinge": [1 - second**2, 1 - gap**2, 0.0, 1.0],
    }[repulsion]
    assert loss.item() == pytest.approx((0.25 + sum(apart)) / 5, abs=1e-5)


def test_noise_belongs_to_nobody():
    data, _ = two_tracks()
    pairs = torch.tensor([[0, 0, 3, 1], [1, 2, 3, 0]])
    assert objectives.together(pairs, data).tolist() == [True, False, False, True]


def test_a_mean_is_over_events_and_one_without_edges_counts_nothing():
    data = batch([3, 1, 4])
    pairs = torch.tensor([[1, 2, 5], [0, 0, 4]])
    found = objectives.over_events(torch.tensor([1.0, 3.0, 8.0]), pairs, data)
    assert found.item() == pytest.approx((2 + 0 + 8) / 3)
    none = torch.empty(2, 0, dtype=torch.int64)
    assert objectives.verdicts(torch.empty(0), none, data).item() == 0


def test_companions_are_others_of_the_group_and_depend_on_the_event_alone():
    data = batch([12, 1, 20])
    group = data.event * 10 + data.per_point["track"]
    pairs = objectives.companions(group, 6, data)
    assert torch.equal(group[pairs[0]], group[pairs[1]])
    assert (pairs[0] != pairs[1]).all()
    assert pairs.shape[1] > 100
    alone = part(data, [2])
    again = objectives.companions(alone.per_point["track"], 6, alone)
    mine = pairs[:, pairs[1] >= 13] - 13
    assert torch.equal(sorted_edges(mine, 20), sorted_edges(again, 20))


def test_companions_reach_everybody():
    data = batch([40])
    pairs = objectives.companions(data.event, 40, data)
    share = np.bincount(pairs[0].numpy(), minlength=40) / pairs.shape[1]
    assert share.min() > 0.01
    assert share.max() < 0.05


def test_what_a_graph_lacks_costs_nothing():
    data = batch([4])
    bare = Graph(torch.tensor([[0], [1]]))
    assert objectives.within(None, data) == {}
    assert objectives.within(bare, data) == objectives.edges(bare, data) == {}
    whole = Graph(
        bare.edges,
        Space(torch.rand(4, 2), 1.0),
        None,
        torch.zeros(1),
        Candidates(bare.edges, torch.zeros(1)),
    )
    assert objectives.within(whole, data).keys() == {"metric", "filter"}
    assert objectives.edges(whole, data)["edges"].item() == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    "model",
    [
        EggNet(width=8, iterations=2, layers=1, depth=2, dimensions=4),
        ExaTrkX(width=8, layers=1, depth=2, embedding_width=8, filter_width=8, radius=1.0),
        GraphSAGE(width=8),
    ],
)
def test_networks_run_in_half_precision(model):
    data = batch([30, 1])
    data = with_truth(data, pid=data.per_point["track"])
    system = systems.build(model, None)
    module = system.module.bfloat16()
    total, _ = system.objective(module(data), data)
    total.backward()
    assert total.isfinite()
    assert all(each.grad.isfinite().all() for each in module.parameters())
