"""Graphs of near points and networks on them: the same edges everywhere, none across events."""

import math

import pytest

torch = pytest.importorskip("torch")

from made_batches import batch
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
    along,
    both_ways,
    by_distances,
    features,
    inputs,
    nearest,
    places,
    sorted_edges,
    way_back,
)
from pipeline.nn.message_passing import (
    Interaction,
    Layered,
    OfEdges,
    attend,
    mean,
    most,
    shares,
    total,
)
from pipeline.nn.space_losses import Contrastive

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
    assert torch.equal(inputs(x, ("energy", "eta", "phi", "r")), features(x))


def test_other_columns_are_read_as_they_are_and_what_is_no_number_as_0():
    x = torch.tensor([[1.0, torch.nan, 3.0]])
    assert inputs(x, ("a", "phi", "z")).tolist() == [[1.0, 0.0, 3.0]]


def test_points_follow_each_other_by_radius_or_as_in_the_file():
    data = batch([3, 2])
    assert torch.equal(along(data, ("energy", "eta", "phi", "r")), data.points[:, 3])
    assert along(data, ("x", "y", "z", "t")).tolist() == [0, 1, 2, 0, 1]


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
@pytest.mark.parametrize("sizes", [[8], [8, 8, 2]])
def test_the_map_of_both_ends_is_that_of_them_side_by_side(own, sizes):
    net, x = OfEdges(5, sizes, state_width=own), points(5, count=30)
    edges = nearest(x, torch.tensor([0, 30]), 4)
    state = points(3, count=edges.shape[1]) if own else None
    together = [x[edges[0]], x[edges[1]], *([state] if own else [])]
    torch.testing.assert_close(net(x, edges, state), net.maps(torch.cat(together, 1)))


def test_a_round_of_attention_weighs_states_by_their_last_output():
    x, edges = points(4, count=3), torch.tensor([[1, 2, 0], [0, 0, 1]])
    of_edges, of_points = OfEdges(4, [6], state_width=5), Layered([9, 4])
    states = points(5, count=3)
    after, new = attend(x, states, edges, of_edges, of_points)
    made = of_edges(x, edges, states)
    assert torch.equal(new, made[:, :5])
    weight = made[:2, 5].softmax(0)
    seen = torch.stack([weight @ made[:2, :5], made[2, :5], torch.zeros(5)])
    torch.testing.assert_close(after, of_points(torch.cat([x, seen], 1)))


@pytest.mark.parametrize(
    ("aggregation", "seen"), [("sum_max", [2.0, 3.0]), ("sum", [3.0]), ("max", [2.0])]
)
def test_points_see_edges_as_they_were_before(aggregation, seen):
    x, edges = torch.tensor([[5.0], [7.0]]), torch.tensor([[1, 1], [0, 0]])
    states = torch.tensor([[1.0], [2.0]])
    step = Interaction(OfEdges(1, [1], state_width=1), Layered([1 + len(seen), 1]), aggregation)
    after, new = step(x, states, edges)
    expected = torch.tensor([[5.0, *seen], [7.0, *(0.0 for _ in seen)]])
    torch.testing.assert_close(after, x + step.of_points(expected))
    torch.testing.assert_close(new, states + step.of_edges(x, edges, states))


@pytest.mark.parametrize("kind", ["attention", "interaction"])
def test_a_point_without_edges_is_looked_at_by_itself(kind):
    torch.manual_seed(0)
    x, edges = points(8, count=5), torch.tensor([[1, 0], [0, 1]])
    of_edges = OfEdges(8, [8, 9 if kind == "attention" else 8], state_width=8)
    of_points = Layered([16 if kind == "attention" else 24, 8])
    step = Interaction(of_edges, of_points, "sum_max")

    def after():
        states = torch.zeros(2, 8)
        if kind == "attention":
            return attend(x, states, edges, of_edges, of_points)[0]
        # A step reads the edges as they were before it, so a neighbour is seen after two.
        return step(*step(x, states, edges), edges)[0]

    before = after()
    x[1] += 1.0
    assert torch.equal(before[2:], after()[2:])
    assert not torch.equal(before[0], after()[0])


def test_layers_are_linear_normed_and_active_but_for_the_last():
    net = Layered([3, 6, 6, 2], nn.Tanh)
    assert [type(each) for each in net] == [nn.Linear, nn.LayerNorm, nn.Tanh] * 2 + [nn.Linear]
    assert net[1].elementwise_affine
    plain = Layered([3, 6, 2], norm="plain", last=nn.Sigmoid)
    assert [type(each) for each in plain] == [
        nn.Linear, nn.LayerNorm, nn.SiLU, nn.Linear, nn.Sigmoid
    ]  # fmt: skip
    assert not plain[1].elementwise_affine
    assert [type(each) for each in Layered([3, 6, 2], norm="none")] == [
        nn.Linear, nn.SiLU, nn.Linear
    ]  # fmt: skip


def test_noise_belongs_to_nobody():
    data = with_truth(batch([4]), track=torch.tensor([1, 1, 2, 0]))
    pairs = torch.tensor([[0, 0, 3, 1], [1, 2, 3, 0]])
    assert objectives.together(pairs, data).tolist() == [True, False, False, True]


def test_a_mean_is_over_events_and_one_without_edges_counts_nothing():
    data = batch([3, 1, 4])
    pairs = torch.tensor([[1, 2, 5], [0, 0, 4]])
    found = objectives.over_events(torch.tensor([1.0, 3.0, 8.0]), pairs, data)
    assert found.item() == pytest.approx((2 + 0 + 8) / 3)
    none = torch.empty(2, 0, dtype=torch.int64)
    assert objectives.verdicts(torch.empty(0), none, data).item() == 0


def test_what_a_graph_lacks_costs_nothing():
    data = batch([4])
    bare = Graph(torch.tensor([[0], [1]]))
    assert objectives.within(None, data) == {}
    assert objectives.within(bare, data) == objectives.edges(bare, data) == {}
    whole = Graph(
        bare.edges,
        Space(torch.rand(4, 2), torch.arange(4), Contrastive(random_pairs=5)),
        None,
        torch.zeros(1),
        Candidates(bare.edges, torch.zeros(1)),
    )
    assert objectives.within(whole, data).keys() == {"metric", "filter"}
    assert objectives.edges(whole, data)["edges"].item() == pytest.approx(math.log(2))


def test_a_true_edge_counts_more_than_a_false_one():
    data = with_truth(batch([4]), track=torch.tensor([1, 1, 2, 0]))
    pairs, logits = torch.tensor([[0, 0], [1, 2]]), torch.zeros(2)
    graph = Graph(pairs, logits=logits, candidates=Candidates(pairs, logits, 5.0), true_weight=3.0)
    once = math.log(2) / 2
    assert objectives.edges(graph, data)["edges"].item() == pytest.approx(once * (3 + 1))
    assert objectives.filtered(graph, data)["filter"].item() == pytest.approx(once * (5 + 1))


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
    trained = [each for each in module.parameters() if each.requires_grad]
    assert all(each.grad.isfinite().all() for each in trained)
