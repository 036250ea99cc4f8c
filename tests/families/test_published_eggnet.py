"""EggNet is the authors': outputs of their code, and the laws of their initial values."""

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from torch import nn
from torch.nn import functional

from pipeline.families.eggnet import module as network
from pipeline.families.eggnet import published as names
from pipeline.families.eggnet.spec import EggNet
from pipeline.nn import message_passing, published, space_losses
from tests.golden import eggnet, laws
from tests.golden.cases import Case

FOLDER = ROOT / "tests" / "golden" / "published"
KINDS = ("eggnet", "eggnet_one_iteration", "eggnet_recurrent_gnn")


def case(kind):
    return Case(FOLDER / kind)


def failed(kind):
    """The names of the arrays that are not as the authors have them."""
    return {row.name for row in eggnet.held(case(kind)) if not row.passed}


@pytest.mark.parametrize("kind", KINDS)
def test_each_array_is_compared(kind):
    found = [row.name for row in eggnet.held(case(kind))]
    assert len(found) == len(set(found))
    arrays = case(kind).arrays
    assert set(found) == {
        name for name in arrays if name.startswith(("out_", "in_track_edges"))
    } | {"grad_norms"}


def gelu_for_silu(patch):
    patch.setattr(nn.SiLU, "forward", lambda _, x: functional.gelu(x))


def activation_before_norm(patch):
    parts = message_passing._parts

    def exchanged(*given):
        found = list(parts(*given))
        norms = [number for number, each in enumerate(found) if isinstance(each, nn.LayerNorm)]
        for number in norms:
            found[number : number + 2] = found[number + 1], found[number]
        return found

    patch.setattr(message_passing, "_parts", exchanged)


def other_norm(patch):
    patch.setattr(nn.LayerNorm, "forward", lambda _, x: x / x.norm(dim=1, keepdim=True))


def edges_turned(patch):
    ends = message_passing.of_ends
    patch.setattr(message_passing, "of_ends", lambda p, e, first: ends(p, e.flip(0), first))


def weights_negated(patch):
    shares = message_passing.shares
    patch.setattr(message_passing, "shares", lambda logits, *a: shares(-logits, *a))


def residuals(patch):
    attend = network.attend

    def added(points, *given):
        after, states = attend(points, *given)
        return points + after, states

    patch.setattr(network, "attend", added)


def weight_without_activation(patch):
    made = network.edge_network

    def bare(*given):
        edges = made(*given)
        edges.maps = nn.Sequential(*list(edges.maps)[:-1])
        return edges

    patch.setattr(network, "edge_network", bare)


def iterations_go_on(patch):
    given = eggnet.model_of
    patch.setattr(eggnet, "model_of", lambda c: given(c).model_copy(update={"recycle": False}))


def first_graph_of_the_encoder(patch):
    module_of = eggnet.module_of

    def changed(c):
        module = module_of(c)
        module.backbone.first.forward = lambda x: x
        return module

    patch.setattr(eggnet, "module_of", changed)


def no_sphere(patch):
    patch.setattr(network.functional, "normalize", lambda x, **_: x)


def squares_within_the_margin(patch):
    squares = space_losses.squares
    patch.setattr(space_losses, "squares", lambda *a: squares(*a).square())


def noise_is_a_track(patch):
    def together(pairs, batch):
        first, second = batch.per_point["track"][pairs]
        return first == second

    patch.setattr(space_losses, "together", together)


def one_mean_of_all_pairs(patch):
    def changed(self, space, batch):
        near = space_losses.nearest(space.points, batch.offsets, self.neighbours)
        random = space_losses.any_pairs(self.random_pairs, batch)
        track = space_losses.track_edges(space.along, batch)
        return 3 * self.part(space.points, torch.cat([track, near, random], 1), batch)

    patch.setattr(space_losses.Contrastive, "__call__", changed)


def points_are_their_own_neighbours(patch):
    patch.setattr(network, "nearest", lambda *a: space_losses.nearest(*a).flip(0))


@pytest.mark.parametrize(
    ("change", "kind", "shows"),
    [
        (gelu_for_silu, "eggnet_one_iteration", "out_encoded0"),
        (activation_before_norm, "eggnet_one_iteration", "out_encoded0"),
        (other_norm, "eggnet_one_iteration", "out_encoded0"),
        (edges_turned, "eggnet_one_iteration", "out_after_iteration0_0"),
        (weights_negated, "eggnet_one_iteration", "out_after_iteration0_0"),
        (residuals, "eggnet_recurrent_gnn", "out_after_iteration0_0"),
        (weight_without_activation, "eggnet_one_iteration", "out_after_iteration0_0"),
        (iterations_go_on, "eggnet", "out_before_iteration0_1"),
        (first_graph_of_the_encoder, "eggnet", "out_edges1_0"),
        (no_sphere, "eggnet", "out_embedding0"),
        (squares_within_the_margin, "eggnet_one_iteration", "out_knn_loss_event0"),
        (noise_is_a_track, "eggnet_one_iteration", "out_random_loss_event1"),
        (one_mean_of_all_pairs, "eggnet_one_iteration", "out_loss"),
        (points_are_their_own_neighbours, "eggnet_one_iteration", "out_edges1_0"),
    ],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_a_change_of_the_function_shows(monkeypatch, change, kind, shows):
    change(monkeypatch)
    assert shows in failed(kind)


def test_neighbours_at_the_same_distance_may_be_exchanged():
    given = case("eggnet_one_iteration")
    edges = torch.from_numpy(given.arrays["out_edges0_0"]).clone()
    space = torch.zeros(12, 2)
    first, mine = edges[1] == 0, edges[0][edges[1] == 0]
    other = next(each for each in range(1, 12) if each not in mine)
    edges[0, first.nonzero()[0, 0]] = other
    compared = eggnet.compared_graph
    assert compared(given, "out_edges0_0", edges, space + 1.0).difference != 0
    space[:, 0] = 1.0
    space[0, 0] = 0.0
    assert compared(given, "out_edges0_0", edges, space).passed
    space[other, 0] = 3.0
    assert not compared(given, "out_edges0_0", edges, space).passed


@pytest.mark.parametrize("kind", KINDS)
def test_weights_go_in_and_out_bit_for_bit(kind):
    given, module = case(kind), eggnet.module_of(case(kind))
    back = published.exported(module.state_dict(), names.entries(module.backbone.model))
    assert back.keys() == given.weights.keys()
    assert all(torch.equal(back[name], each) for name, each in given.weights.items())


def test_initial_values_follow_the_published_laws():
    model = EggNet(size="trackml-cells", layers=2)
    theirs = laws.reference("eggnet", "trackml")
    entries = list(names.entries(model))
    assert laws.differing(lambda: network.build(model, None), entries, theirs) == {}

    def per_end():
        """A map of each end drawn by itself, as ours once were."""
        module = network.build(model, None)
        with torch.no_grad():
            module.backbone.edges[0].maps[0].weight.mul_(2**0.5)
        return module

    assert laws.differing(per_end, entries, theirs).keys() == {"edge_networks.0.0.weight"}


def test_the_published_settings_have_the_published_number_of_parameters():
    shapes = {name: each.numbers for name, each in laws.reference("eggnet", "trackml").items()}
    model = EggNet(size="trackml-cells", layers=2)
    assert model.parameters().total == sum(shapes.values()) / laws.SEEDS
