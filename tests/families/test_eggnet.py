"""EggNet: its counts, graphs that evolve, and that it finds tracks."""

from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

from made_batches import MODEL as FM4NPP
from made_batches import batch, part
from made_tracks import found, lines, parts, pretrained, turned, with_truth
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from pipeline.data.errors import BadInput
from pipeline.downstream import TASKS
from pipeline.downstream.clusters.spec import ClusterTask
from pipeline.downstream.edges.spec import EdgeTask
from pipeline.downstream.noise.spec import NoiseTask
from pipeline.downstream.particles.spec import ParticleTask
from pipeline.families import FAMILIES, Parameters
from pipeline.families.eggnet import module as eggnet
from pipeline.families.eggnet.spec import EggNet
from pipeline.nn import systems
from pipeline.nn.graphs import features
from pipeline.nn.hidden import Hidden
from pipeline.training.network import Downstream
from pipeline.training.steps.loop import parameters

MODEL = EggNet(
    width=16, iterations=2, layers=2, depth=2, neighbours=4, dimensions=8, random_pairs=300
)
EASY = MODEL.model_copy(update={"iterations": 1, "layers": 1, "neighbours": 5})
CLUSTERS = ClusterTask(width=16, dimensions=8, radius=0.3, random_pairs=300)
AS_PUBLISHED = CLUSTERS.model_copy(update={"space": "backbone"})


def changed(**changes):
    return EggNet(**{**MODEL.model_dump(), **changes})


def backbone(model=MODEL):
    torch.manual_seed(0)
    return eggnet.Backbone(model).eval()


def test_it_is_registered():
    assert FAMILIES["eggnet"] is EggNet
    assert TASKS["clusters"] is ClusterTask


# By arithmetic: encoder 33,792, a round's edges 66,049 and 82,433 after the first, its points
# 65,920, the decoder 3,096; the network of the first graph, which nothing trains, 49,536.
ENDS, FIRST, LATER, POINTS, OF_FIRST_GRAPH = 33_792 + 3_096, 66_049, 82_433, 65_920, 49_536


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("trackml", ENDS + FIRST + 7 * LATER + 8 * POINTS),
        ("one-layer", ENDS + FIRST + LATER + POINTS),
        ("trackml-cells", ENDS + FIRST + 7 * LATER + 8 * POINTS + 7 * 128),
    ],
)
def test_the_published_sizes(size, count):
    model = EggNet(size=size)
    with torch.device("meta"):
        module = systems.build(model, None).module
    assert parameters(module) == (count, count + OF_FIRST_GRAPH)
    assert model.parameters() == Parameters(count, OF_FIRST_GRAPH)
    assert (model.width, model.iterations, model.layers) == (128, 4, 8)
    assert (model.neighbours, model.dimensions, model.margin) == (10, 24, 1.0)


@pytest.mark.parametrize(
    "other",
    [
        *({"shared": each, "depth": 3} for each in ("nothing", "iterations", "everything")),
        {"shared": "rounds", "iterations": 1},
        {"depth": 1, "recycle": False},
        {"shared": "nothing", "recycle": False},
        {"edge_width": 7, "inner": {"edges": 9, "first": 5}, "depths": {"decoder": 2, "points": 4}},
        {"columns": ("a", "b"), "norm": False},
    ],
    ids=str,
)
def test_a_declaration_counts_what_its_module_has(other):
    model = changed(**other)
    with torch.device("meta"):
        module = systems.build(model, None).module
    assert (model.parameters().trained, model.parameters().total) == parameters(module)


@pytest.mark.parametrize("shared", ["iterations", "nothing"])
@pytest.mark.parametrize("recycle", [True, False])
def test_what_is_trained_is_what_the_loss_reaches(shared, recycle):
    model = changed(shared=shared, recycle=recycle)
    system, data = systems.build(model, None), batch([40, 9])
    system.objective(system.module(data), data)[0].backward()
    for name, each in system.module.named_parameters():
        assert each.requires_grad == (each.grad is not None), name


@pytest.mark.parametrize("recycle", [True, False])
def test_flops_are_those_of_the_matrices(recycle):
    model = changed(recycle=recycle)
    module, data = systems.build(model, None).module, batch([64])
    with FlopCounterMode(display=False) as counter:
        module(data).space.points.sum().backward()
    # By convention backward is twice forward; but nothing flows back into what is read.
    into_inputs = 2 * 5 * model.width
    assert model.flops_per_token(64) == pytest.approx(counter.get_total_flops() / 64 + into_inputs)


@pytest.mark.parametrize("name", ["iterations", "layers", "neighbours", "dimensions"])
def test_each_number_of_the_declaration_reaches_the_module(name):
    data = batch([40])
    other = backbone(changed(**{name: getattr(MODEL, name) + 1}))
    assert not torch.equal(backbone()(data)[0], other(data)[0])


@pytest.mark.parametrize(
    "wrong",
    [{"width": 0}, {"margin": 0}, {"shared": "some"}, {"shared": "rounds"}, {"size": "x"}],
)
def test_a_model_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        changed(**wrong)


def test_each_iteration_looks_for_neighbours_in_the_space_of_the_one_before(monkeypatch):
    model, spaces = backbone(changed(iterations=3)), []
    near = eggnet.nearest
    monkeypatch.setattr(eggnet, "nearest", lambda x, *a: spaces.append(x) or near(x, *a))
    starts, of_one = [], model.iteration
    monkeypatch.setattr(model, "iteration", lambda n, x, e: starts.append(x) or of_one(n, x, e))
    x, graph = model(batch([40]))
    encoded = model.encoder(features(batch([40]).points))
    assert len(spaces) == 4
    torch.testing.assert_close(spaces[0], model.space(0, model.first(encoded)))
    torch.testing.assert_close(spaces[-1], model.space(0, x))
    assert torch.equal(graph.space.points, spaces[-1])
    assert all(not torch.equal(a, b) for a, b in pairwise(spaces))
    torch.testing.assert_close(spaces[-1].norm(dim=1), torch.ones(40))
    # But for its graph an iteration passes on nothing.
    assert all(torch.equal(start, encoded) for start in starts)


def test_an_azimuth_of_other_columns_is_read_as_it_is():
    data = batch([40])
    assert backbone(changed(columns=("r", "phi", "z", "x"))).encoder[0].in_features == 4
    model = backbone(changed(columns=("r", "phi", "z", "x")))
    assert torch.equal(model(data)[1].space.along, data.points[:, 0])
    assert model(data)[0].isfinite().all()


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


@pytest.mark.parametrize("head", [CLUSTERS, AS_PUBLISHED], ids=lambda each: each.space)
def test_it_finds_tracks_that_are_easy(head):
    scores = found(EASY, head, [lines(4, seed=s) for s in range(1, 31)], lines(20, seed=99))
    assert scores.ari > 0.95
    assert scores.track_efficiency > 0.95


def test_clusters_may_be_those_of_the_space_of_the_backbone():
    network, data = Downstream(MODEL, AS_PUBLISHED), batch([40, 3])
    output = network(data)
    assert list(network.head.parameters()) == []
    assert output.space is output.graph.space
    assert AS_PUBLISHED.module().loss(output, data, AS_PUBLISHED).keys() == {"metric"}
    assert AS_PUBLISHED.refuses_mode("full", MODEL) == ""
    assert "leaves nothing to train" in AS_PUBLISHED.refuses_mode("frozen", MODEL)
    assert "makes no space" in AS_PUBLISHED.refuses_mode("full", FM4NPP)
    with pytest.raises(BadInput, match="makes no space"):
        Downstream(FM4NPP, AS_PUBLISHED)
    with pytest.raises(BadInput, match="needs the backbone"):
        Downstream(MODEL, AS_PUBLISHED, stored=True).head(Hidden([torch.rand(40, 16)]), data)


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
    missed = {
        n for n, each in network.named_parameters() if each.requires_grad and each.grad is None
    }
    # Only heads that find tracks train the space in which neighbours are looked for.
    spaces = {"backbone.decoders.0.0.weight", "backbone.decoders.0.0.bias"}
    assert missed == (spaces if isinstance(head, ParticleTask | NoiseTask) else set())


def test_pretrained_weights_find_their_place():
    pretraining = systems.build(MODEL, None).module.state_dict()
    own = {name.removeprefix("backbone."): each for name, each in pretraining.items()}
    backbone_of_head = Downstream(MODEL, CLUSTERS).backbone
    backbone_of_head.load_state_dict(own)
    assert all(torch.equal(each, own[name]) for name, each in backbone_of_head.state_dict().items())
