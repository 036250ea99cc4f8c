"""GraphSAGE: its counts, one layer by hand, and that it tells points apart."""

import pytest

torch = pytest.importorskip("torch")

from made_batches import batch, part
from made_tracks import lines, pretrained, trained, turned, with_truth
from torch.nn.functional import normalize
from torch.utils.flop_counter import FlopCounterMode

from pipeline.downstream import TASKS
from pipeline.downstream.noise.spec import NoiseTask
from pipeline.downstream.particles.spec import PARTICLES as KINDS
from pipeline.downstream.particles.spec import ParticleTask
from pipeline.families import FAMILIES
from pipeline.families.graphsage import module as graphsage
from pipeline.families.graphsage.spec import PARTICLES, GraphSAGE
from pipeline.nn import systems
from pipeline.nn.graphs import nearest, places
from pipeline.training.network import Downstream
from pipeline.training.steps.loop import parameters

MODEL = GraphSAGE(width=16, layers=2, neighbours=4)
TOLD = {"particles": ParticleTask(width=16, heads=2), "noise": NoiseTask(width=16, heads=2)}


def labelled(data):
    """Events whose points are of the kinds of their tracks; the first track is noise."""
    track = data.per_point["track"]
    return with_truth(data, pid=track % PARTICLES, noise=(track == 1).long())


BATCHES = [labelled(lines(2, seed=s)) for s in range(1, 151)]


def backbone(model=MODEL):
    torch.manual_seed(0)
    return graphsage.Backbone(model).eval()


def test_it_is_registered():
    assert FAMILIES["graphsage"] is GraphSAGE
    assert len(KINDS) == PARTICLES


def test_the_published_size():
    model = GraphSAGE(size="published")
    count = 5 * 256 + 256 + 2 * (512 * 256 + 256) + 256 * 5 + 5
    with torch.device("meta"):
        module = systems.build(model, None).module
    assert parameters(module) == (count, count)
    assert model.parameters().trained == count
    assert (model.layers, model.width, model.neighbours) == (2, 256, 25)


def test_flops_are_those_of_the_matrices():
    module, data = systems.build(MODEL, None).module, batch([50])
    with FlopCounterMode(display=False) as counter:
        module(data)
    assert MODEL.flops_per_token(50) == pytest.approx(3 * counter.get_total_flops() / 50)


def test_a_layer_maps_a_point_and_the_mean_of_its_neighbours():
    model, data = backbone(MODEL.model_copy(update={"layers": 1})), batch([12])
    found, graph = model(data)
    x = model.encoder(graphsage.features(data.points))
    weight, bias = model.layers[0].map.weight, model.layers[0].map.bias
    for point in range(12):
        near = graph.edges[0][graph.edges[1] == point]
        assert len(near) == 4
        both = torch.cat([x[point], x[near].mean(0)])
        torch.testing.assert_close(found[point], normalize((weight @ both + bias).relu(), dim=0))
    assert torch.equal(graph.edges, nearest(places(data.points), data.offsets, 4))


@pytest.mark.parametrize("name", ["layers", "neighbours"])
def test_each_number_of_the_declaration_reaches_the_module(name):
    other = MODEL.model_copy(update={name: getattr(MODEL, name) + 1})
    data = batch([40])
    assert not torch.equal(backbone()(data)[0], backbone(other)(data)[0])


def test_an_event_s_answer_does_not_depend_on_its_company():
    model, data = backbone(), batch([40, 1, 70, 3])
    together = model(data)[0].split([40, 1, 70, 3])
    for number, found in enumerate(together):
        torch.testing.assert_close(model(part(data, [number]))[0], found, rtol=1e-4, atol=1e-6)


def test_it_does_not_care_for_the_order_of_points():
    model, data, order = backbone(), batch([50]), torch.randperm(50)
    torch.testing.assert_close(model(turned(data, order))[0], model(data)[0][order])


def test_the_truth_is_not_seen():
    torch.manual_seed(0)
    module, data = systems.build(MODEL, None).module, labelled(batch([30, 5]))
    other = with_truth(data, pid=(data.per_point["pid"] + 1) % PARTICLES)
    assert torch.equal(module(data), module(other))
    assert "pid" not in MODEL.reads_downstream().per_point


def test_the_loss_falls():
    first, last = pretrained(MODEL, BATCHES)
    assert last < 0.3 * first


@pytest.mark.parametrize("task", TOLD)
def test_its_heads_tell_points_apart(task):
    torch.manual_seed(0)
    head = TOLD[task]
    assert TASKS[task] is type(head)
    network, of = Downstream(MODEL, head), head.module()
    trained(network, lambda o, b: sum(of.loss(o, b, head).values()), BATCHES)
    test = labelled(lines(10, seed=99))
    with torch.no_grad():
        told = of.predict(network.eval()(test), test, head)["probabilities"].argmax(1)
    true = test.per_point[head.PER_POINT[0]]
    assert (told == true).float().mean() > 0.9
