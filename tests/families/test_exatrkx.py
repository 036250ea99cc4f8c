"""Exa.TrkX: its counts, three stages that learn by themselves, and that it finds tracks."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from made_batches import MODEL as FM4NPP
from made_batches import batch, part
from made_constituents import feature_batch
from made_tracks import found, lines, parts, pretrained, turned, with_truth
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from pipeline.data.errors import BadInput
from pipeline.downstream import TASKS
from pipeline.downstream.clusters.spec import ClusterTask
from pipeline.downstream.edges.module import joined
from pipeline.downstream.edges.spec import EdgeTask
from pipeline.families import FAMILIES, Parameters
from pipeline.families.exatrkx import module as exatrkx
from pipeline.families.exatrkx.spec import ExaTrkX
from pipeline.families.omnijet.spec import OmniJet
from pipeline.nn import graph_losses as objectives
from pipeline.nn import systems
from pipeline.nn.graphs import way_back
from pipeline.nn.hidden import Hidden
from pipeline.training.network import Downstream
from pipeline.training.steps.loop import parameters

MODEL = ExaTrkX(
    width=16,
    layers=2,
    depth=2,
    embedding_width=24,
    embedding_layers=2,
    dimensions=6,
    filter_width=20,
    filter_layers=2,
    neighbours=6,
    radius=0.5,
)
EASY = MODEL.model_copy(update={"layers": 1, "neighbours": 8})
HEAD = EdgeTask(width=16, depth=2, cut=0.5)
STAGES = {
    "metric": ("embedding.",),
    "filter": ("filter.first.", "filter.further.", "filter.norms.layer.", "filter.out."),
    "edges": ("of_points.", "of_edges.", "layers."),
}


def changed(**changes):
    return ExaTrkX(**{**MODEL.model_dump(), **changes})


def backbone(model=MODEL):
    torch.manual_seed(0)
    return exatrkx.Backbone(model).eval()


def test_it_is_registered():
    assert FAMILIES["exatrkx"] is ExaTrkX
    assert TASKS["edges"] is EdgeTask


def mapped(inputs, width, layers, *, outputs=0):
    """Parameters of linear maps with norms between them."""
    maps = (inputs + (layers - 1) * width) * width + layers * width
    last = (width + 1) * outputs
    return maps + 2 * width * (layers - (outputs == 0)) + last


@pytest.mark.parametrize(
    ("size", "width", "layers", "filters"), [("quickstart", 128, 6, 0), ("trackml", 64, 8, 512)]
)
def test_the_published_sizes(size, width, layers, filters):
    model = ExaTrkX(size=size)
    expected = mapped(5, 1024, 4, outputs=12)
    for inputs in (5, 2 * width, 3 * width, 3 * width):  # two encoders, points and edges of a step
        expected += mapped(inputs, width, 3)
    expected += mapped(3 * width, width, 3, outputs=1)
    # One norm for all layers of the filter, and one that is not used.
    expected += filters and (10 + 2 * filters + 3 + 2) * filters + filters + 1
    with torch.device("meta"):
        module = systems.build(model, None).module
    assert parameters(module) == (expected, expected + 2 * filters)
    assert model.parameters() == Parameters(expected, 2 * filters)
    assert (model.margin, model.radius, model.filter_cut) == (0.1, 0.1, 0.15)
    assert (model.layers, model.edge_weight, model.filter_weight) == (layers, 2.0, 1.0)


@pytest.mark.parametrize(
    "other",
    [
        {"depth": 1},
        {"depth": 3, "edge_depth": 2, "aggregation": "max", "norm": False},
        {"filter_width": None, "columns": ("a", "b", "c"), "network_columns": ("c",)},
        {"filter_norms": ("layer", "batch"), "filter_layers": 1},
        {"filter_norms": ()},
    ],
    ids=str,
)
def test_a_declaration_counts_what_its_module_has(other):
    model = changed(**other)
    with torch.device("meta"):
        module = systems.build(model, None).module
    assert (model.parameters().trained, model.parameters().total) == parameters(module)


def test_flops_are_those_of_the_matrices_where_everybody_is_near():
    model, data = changed(neighbours=30, radius=3.0), batch([31])
    module = systems.build(model, None).module
    with FlopCounterMode(display=False) as counter:
        graph = module(data)
    assert graph.edges.shape[1] == 31 * 30
    assert model.flops_per_token(31) == pytest.approx(3 * counter.get_total_flops() / 31)


@pytest.mark.parametrize("name", ["layers", "neighbours", "radius", "depth", "filter_layers"])
def test_each_number_of_the_declaration_reaches_the_module(name):
    data, less = batch([40]), {"radius": 0.02, "neighbours": 2}.get(name, 1)
    other = backbone(changed(**{name: less}))
    found, told = backbone()(data), other(data)
    assert not torch.equal(found[0], told[0]) or found[1].edges.shape != told[1].edges.shape


@pytest.mark.parametrize(
    "wrong",
    [
        {"filter_cut": 1.0},
        {"radius": 0},
        {"width": 0},
        {"neighbours": 1},
        {"network_columns": ["z"]},
    ],
)
def test_a_model_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        changed(**wrong)


@pytest.mark.parametrize("stage", STAGES)
def test_a_loss_trains_its_own_stage_and_no_other(stage):
    module, data = systems.build(MODEL, None).module, batch([40, 9])
    name = {"filter": "filtered"}.get(stage, stage)
    (loss,) = getattr(objectives, name)(module(data), data).values()
    loss.backward()
    moved = {n for n, each in module.named_parameters() if each.grad is not None}
    own = [f"backbone.{each}" for each in STAGES[stage]] + ["classify."] * (stage == "edges")
    assert moved == {n for n, _ in module.named_parameters() if n.startswith(tuple(own))}


def test_all_stages_learn_in_one_training():
    system, data = systems.build(MODEL, None), batch([40, 9])
    total, told = system.objective(system.module(data), data)
    assert told.keys() == set(STAGES)
    total.backward()
    for name, each in system.module.named_parameters():
        assert each.requires_grad == (each.grad is not None), name


def test_without_a_filter_there_is_no_loss_of_one():
    system, data = systems.build(changed(filter_width=None), None), batch([40, 9])
    graph = system.module(data)
    assert graph.candidates is None
    assert system.objective(graph, data)[1].keys() == {"metric", "edges"}


def test_the_filter_keeps_what_passes_its_cut_in_a_direction():
    model, data = backbone(), batch([60])
    with torch.no_grad():
        middle = model(data)[1].candidates.logits.quantile(0.7)
        model.filter.out.bias += math.log(0.15 / 0.85) - middle
        graph = model(data)[1]
    passed = graph.candidates.logits.sigmoid() > MODEL.filter_cut
    kept = passed | passed[way_back(graph.candidates.edges, 60)]
    assert 0 < passed.sum() < kept.sum() < len(kept)
    assert torch.equal(graph.edges, graph.candidates.edges[:, kept])
    assert len(graph.states) == graph.edges.shape[1]


def test_a_batch_norm_of_the_filter_takes_its_statistics_from_the_edges_at_hand():
    norm, x = exatrkx.OverEdges(3), torch.randn(50, 3) * 4 + 2
    torch.testing.assert_close(norm(x), torch.nn.BatchNorm1d(3)(x))
    assert norm(x[:1]).isfinite().all()
    assert norm(x[:0]).shape == (0, 3)
    data = batch([30, 30])
    model = backbone(changed(filter_norms=("batch",)))
    together, alone = (model(each)[1].candidates for each in (data, part(data, [0])))
    mine = together.edges[1] < 30
    assert not torch.allclose(together.logits[mine], alone.logits, atol=1e-3)


def test_both_ways_of_an_edge_are_classified_by_themselves():
    data, module = batch([40, 30]), systems.build(MODEL, None).module
    graph = module(data)
    back = way_back(graph.edges, 70)
    assert torch.equal(graph.edges[:, back], graph.edges.flip(0))
    assert not torch.equal(graph.logits, graph.logits[back])


def test_the_network_reads_the_columns_it_is_given():
    data = batch([40])
    model = backbone(changed(columns=("a", "r", "phi", "z"), network_columns=("z", "r")))
    seen = []
    model.of_points.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    assert torch.equal(model(data)[1].space.along, data.points[:, 1])
    assert torch.equal(seen[0], data.points[:, [3, 1]])


def test_an_event_s_answer_does_not_depend_on_its_company():
    torch.manual_seed(0)
    module, data = systems.build(MODEL, None).module.eval(), batch([40, 1, 70, 3])
    together, start = module(data), 0
    for number, size in enumerate([40, 1, 70, 3]):
        alone = module(part(data, [number]))
        mine = (together.edges[1] >= start) & (together.edges[1] < start + size)
        assert torch.equal(alone.edges, together.edges[:, mine] - start)
        torch.testing.assert_close(alone.logits, together.logits[mine], rtol=1e-4, atol=1e-5)
        start += size


def test_it_does_not_care_for_the_order_of_points():
    torch.manual_seed(0)
    module, data, order = systems.build(MODEL, None).module, batch([50]), torch.randperm(50)
    told = [{}, {}]
    for here, names, each in zip(
        told, (torch.arange(50), order), (data, turned(data, order)), strict=True
    ):
        graph = module(each)
        edges = map(tuple, names[graph.edges].T.tolist())
        here |= dict(zip(edges, graph.logits.tolist(), strict=True))
    assert told[0].keys() == told[1].keys()
    assert all(told[1][edge] == pytest.approx(each, abs=1e-4) for edge, each in told[0].items())


def test_the_truth_is_not_seen():
    torch.manual_seed(0)
    data = batch([30, 5])
    other = with_truth(data, track=data.per_point["track"] + 7)
    for each in (Downstream(MODEL, HEAD), systems.build(MODEL, None).module):
        before, after = parts(each(data)), parts(each(other))
        assert {"edges.", "logits.", "space.points."} <= before.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
    assert "track" not in MODEL.reads_downstream().per_point


def test_events_of_points_alone_are_noise():
    model = changed(radius=1e-9)
    network, data = Downstream(model, HEAD), batch([5, 1])
    output = network(data)
    assert output.edges.shape == (2, 0)
    assert HEAD.module().predict(output, data, HEAD)["track"].tolist() == [0] * 6
    losses = HEAD.module().loss(output, data, HEAD)
    assert losses["edges"].item() == losses["filter"].item() == 0
    sum(losses.values()).backward()


def test_the_loss_falls():
    first, last = pretrained(EASY, [lines(4, seed=s) for s in range(1, 31)])
    assert last < 0.6 * first


def test_it_finds_tracks_that_are_easy():
    scores = found(EASY, HEAD, [lines(4, seed=s) for s in range(1, 61)], lines(20, seed=99))
    assert scores.ari > 0.95
    assert scores.track_efficiency > 0.9


def test_what_edges_join_is_a_track_if_it_is_enough():
    offsets = np.array([0, 5, 6, 10])
    kept = np.array([[1, 3, 6, 7, 8], [0, 1, 7, 8, 6]])
    assert joined(kept, offsets, 3).tolist() == [1, 1, 0, 1, 0, 0, 1, 1, 1, 0]
    kept = np.array([[0, 2, 3], [1, 3, 4]])
    assert joined(kept, offsets, 2).tolist() == [1, 1, 2, 2, 2, 0, 0, 0, 0, 0]
    nothing = np.empty((2, 0), np.int64)
    assert joined(nothing, offsets, 1).tolist() == [1, 2, 3, 4, 5, 1, 1, 2, 3, 4]


def test_the_cut_decides_what_joins():
    network, data = Downstream(MODEL, HEAD), batch([20])
    output = network(data)
    object.__setattr__(output, "logits", torch.full((output.edges.shape[1],), 1.0))
    predict = HEAD.module().predict
    told = [predict(output, data, HEAD.model_copy(update={"cut": c}))["track"] for c in (0.5, 0.8)]
    assert told[0].any()
    assert not told[1].any()


@pytest.mark.parametrize("head", [HEAD, ClusterTask(width=16, dimensions=4)])
def test_heads_that_find_tracks_train_all_they_can(head):
    torch.manual_seed(0)
    data, network = batch([40, 1, 3]), Downstream(MODEL, head)
    losses = head.module().loss(network(data), data, head)
    assert {"metric", "filter", head.task} == losses.keys()
    sum(losses.values()).backward()
    missed = {n for n, each in network.named_parameters() if each.grad is None}
    # Clusters need no states of edges, and the unused norm of the filter is frozen.
    states = {n for n in missed if n.startswith("backbone.layers.0.of_edges.")}
    frozen = {f"backbone.filter.norms.batch.{name}" for name in ("weight", "bias")}
    assert missed - frozen == (states if head.task == "clusters" else set())


def test_the_head_on_exatrkx_is_its_own_classifier():
    network = Downstream(MODEL, HEAD)
    assert network.head.adapter is None
    shapes = {n: each.shape for n, each in network.head.classify.named_parameters()}
    own = systems.build(MODEL, None).module.classify
    assert shapes == {n: each.shape for n, each in own.named_parameters()}


def test_a_backbone_without_a_graph_gets_that_of_neighbours_in_space():
    torch.manual_seed(0)
    data, network = batch([40, 1, 3]), Downstream(FM4NPP, HEAD)
    output = network(data)
    assert output.edges.shape[1] >= 40 * HEAD.neighbours
    losses = HEAD.module().loss(output, data, HEAD)
    assert losses.keys() == {"edges"}
    losses["edges"].backward()
    assert all(each.grad is not None for each in network.head.parameters())


def test_stored_features_have_no_graph_either():
    network = Downstream(MODEL, HEAD, stored=True)
    data = batch([40])
    output = network.head(Hidden([torch.rand(40, 16)]), data)
    assert output.space is None
    assert HEAD.module().loss(output, data, HEAD).keys() == {"edges"}


def test_points_without_a_place_are_refused():
    jets = OmniJet(codes=32, width=16, layers=2, heads=2, inputs="continuous")
    with pytest.raises(BadInput, match=r"looks for neighbours in eta, phi, r; .*head 'clusters'"):
        Downstream(jets, HEAD)
    output = Downstream(jets, ClusterTask(width=16))(feature_batch(3))
    assert output.graph is None


def test_pretrained_weights_find_their_place():
    pretraining = systems.build(MODEL, None).module.state_dict()
    prefix = "backbone."
    own = {n.removeprefix(prefix): w for n, w in pretraining.items() if n.startswith(prefix)}
    backbone_of_head = Downstream(MODEL, HEAD).backbone
    assert backbone_of_head.state_dict().keys() == own.keys()
    backbone_of_head.load_state_dict(own)
    assert all(torch.equal(each, own[name]) for name, each in backbone_of_head.state_dict().items())
