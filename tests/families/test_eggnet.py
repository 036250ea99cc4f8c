"""EggNet: its counts, graphs that evolve, and that it finds tracks."""

from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

from made_batches import batch, part
from made_tracks import found, lines, parts, pretrained, turned, with_truth
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from pipeline.downstream import TASKS
from pipeline.downstream.clusters.spec import ClusterTask
from pipeline.downstream.edges.spec import EdgeTask
from pipeline.downstream.noise.spec import NoiseTask
from pipeline.downstream.particles.spec import ParticleTask
from pipeline.families import FAMILIES
from pipeline.families.eggnet import module as eggnet
from pipeline.families.eggnet.spec import EggNet
from pipeline.nn import systems
from pipeline.training.network import Downstream
from pipeline.training.steps.loop import parameters

MODEL = EggNet(width=16, iterations=2, layers=2, depth=2, neighbours=4, dimensions=8)
EASY = EggNet(width=16, iterations=1, layers=1, depth=2, neighbours=5, dimensions=8)
CLUSTERS = ClusterTask(width=16, dimensions=8, radius=0.3)


def changed(**changes):
    return EggNet(**{**MODEL.model_dump(), **changes})


def backbone(model=MODEL):
    torch.manual_seed(0)
    return eggnet.Backbone(model).eval()


def test_it_is_registered():
    assert FAMILIES["eggnet"] is EggNet
    assert TASKS["clusters"] is ClusterTask


# By arithmetic: encoder 34,560, a layer of attention 133,761, the map into the space 3,096.
@pytest.mark.parametrize(
    ("size", "count"), [("trackml", 34_560 + 8 * 133_761 + 3_096), ("one-layer", 171_417)]
)
def test_the_published_sizes(size, count):
    model = EggNet(size=size)
    with torch.device("meta"):
        module = systems.build(model, None).module
    assert parameters(module) == (count, count)
    assert model.parameters().trained == count
    assert (model.width, model.iterations, model.layers) == (128, 8, 8)
    assert (model.neighbours, model.dimensions, model.margin) == (10, 24, 1.0)


@pytest.mark.parametrize("shared", ["nothing", "iterations", "everything"])
@pytest.mark.parametrize("depth", [1, 3])
def test_a_declaration_counts_what_its_module_has(shared, depth):
    model = changed(shared=shared, depth=depth)
    with torch.device("meta"):
        module = systems.build(model, None).module
    assert model.parameters().trained == parameters(module)[0]


def test_flops_are_those_of_the_matrices():
    module, data = systems.build(MODEL, None).module, batch([64])
    with FlopCounterMode(display=False) as counter:
        module(data)
    forward = counter.get_total_flops() / 64
    # Nothing flows back from the spaces before the last, which decide edges alone.
    spaces = 2 * MODEL.iterations * MODEL.width * MODEL.dimensions
    assert MODEL.flops_per_token(64) == pytest.approx(3 * forward - 2 * spaces)


@pytest.mark.parametrize("name", ["iterations", "layers", "neighbours", "dimensions"])
def test_each_number_of_the_declaration_reaches_the_module(name):
    data = batch([40])
    other = backbone(changed(**{name: getattr(MODEL, name) + 1}))
    assert not torch.equal(backbone()(data)[0], other(data)[0])


@pytest.mark.parametrize("wrong", [{"width": 0}, {"margin": 0}, {"shared": "some"}, {"size": "x"}])
def test_a_model_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        changed(**wrong)


def test_each_iteration_looks_for_neighbours_in_the_space_of_the_one_before(monkeypatch):
    model, spaces = backbone(changed(iterations=3)), []
    near = eggnet.nearest
    monkeypatch.setattr(eggnet, "nearest", lambda x, *a: spaces.append(x) or near(x, *a))
    x, graph = model(batch([40]))
    assert len(spaces) == 4
    torch.testing.assert_close(
        spaces[0], model.space(model.encoder(eggnet.features(batch([40]).points)))
    )
    torch.testing.assert_close(spaces[-1], model.space(x))
    assert torch.equal(graph.space.points, spaces[-1])
    assert all(not torch.equal(a, b) for a, b in pairwise(spaces))
    torch.testing.assert_close(spaces[-1].norm(dim=1), torch.ones(40))


def test_an_event_s_answer_does_not_depend_on_its_company():
    model, data = backbone(), batch([40, 1, 70, 3])
    together, graph = model(data)
    start = 0
    for number, size in enumerate([40, 1, 70, 3]):
        alone, own = model(part(data, [number]))
        torch.testing.assert_close(alone, together[start : start + size], rtol=1e-4, atol=1e-5)
        mine = (graph.edges[1] >= start) & (graph.edges[1] < start + size)
        assert torch.equal(own.edges, graph.edges[:, mine] - start)
        start += size


def test_it_does_not_care_for_the_order_of_points():
    model, data, order = backbone(), batch([50]), torch.randperm(50)
    points, graph = model(data)
    other, again = model(turned(data, order))
    torch.testing.assert_close(other, points[order], rtol=1e-4, atol=1e-5)
    assert {*map(tuple, order[again.edges].T.tolist())} == {*map(tuple, graph.edges.T.tolist())}


def test_the_truth_is_not_seen():
    torch.manual_seed(0)
    data = batch([30, 5])
    other = with_truth(data, track=data.per_point["track"] + 7)
    network, module = Downstream(MODEL, CLUSTERS), systems.build(MODEL, None).module
    for each in (network, module):
        before, after = parts(each(data)), parts(each(other))
        assert before
        assert all(torch.equal(before[name], after[name]) for name in before)
    assert "track" not in MODEL.reads_downstream().per_point


def test_the_loss_falls():
    first, last = pretrained(EASY, [lines(4, seed=s) for s in range(1, 26)])
    assert last < 0.3 * first


def test_it_finds_tracks_that_are_easy():
    scores = found(EASY, CLUSTERS, [lines(4, seed=s) for s in range(1, 31)], lines(20, seed=99))
    assert scores.ari > 0.95
    assert scores.track_efficiency > 0.95


def test_clusters_are_of_one_event_and_too_few_points_are_noise():
    data = batch([4, 3, 1])
    place = torch.tensor([[1.0, 0], [1, 0.01], [1, 0.02], [-1, 0], [1, 0], [1, 0], [0, 1], [0, 1]])
    network = Downstream(MODEL, CLUSTERS)
    output = network(data)
    object.__setattr__(output.space, "points", place)
    head = ClusterTask(radius=0.1, min_points=3)
    assert head.module().predict(output, data, head)["track"].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    two = ClusterTask(radius=0.1, min_points=2)
    assert two.module().predict(output, data, two)["track"].tolist() == [1, 1, 1, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("head", [CLUSTERS, EdgeTask(width=16, depth=2), NoiseTask(width=16)])
def test_any_head_for_points_can_be_put_on_it(head):
    truth = {"noise": torch.zeros(44, dtype=torch.int64), "pid": torch.zeros(44, dtype=torch.int64)}
    data = batch([40, 1, 3])
    data = with_truth(data, **truth)
    torch.manual_seed(0)
    network = Downstream(MODEL, head)
    losses = head.module().loss(network(data), data, head)
    sum(losses.values()).backward()
    trained = {name for name, each in network.named_parameters() if each.grad is not None}
    missed = {name for name, _ in network.named_parameters()} - trained
    # Only heads that find tracks train the space in which neighbours are looked for.
    spaces = {"backbone.to_space.weight", "backbone.to_space.bias"}
    assert missed == (spaces if isinstance(head, ParticleTask | NoiseTask) else set())


def test_pretrained_weights_find_their_place():
    pretraining = systems.build(MODEL, None).module.state_dict()
    own = {name.removeprefix("backbone."): each for name, each in pretraining.items()}
    backbone_of_head = Downstream(MODEL, CLUSTERS).backbone
    backbone_of_head.load_state_dict(own)
    assert all(torch.equal(each, own[name]) for name, each in backbone_of_head.state_dict().items())
