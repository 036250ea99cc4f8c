"""Exa.TrkX is the authors': outputs of their code, their initial values, and their scores."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from torch import nn
from torch.nn import functional

from pipeline.evaluation import published_matching
from pipeline.families.exatrkx import module as network
from pipeline.families.exatrkx import published as names
from pipeline.families.exatrkx.spec import ExaTrkX
from pipeline.nn import message_passing, published, space_losses
from tests.golden import exatrkx, exatrkx_matching, laws
from tests.golden.cases import Case

FOLDER = ROOT / "tests" / "golden" / "published"
STAGES = ("embedding", "filter", "gnn")


def case(kind):
    return Case(FOLDER / f"exatrkx_{kind}")


def failed(kind):
    """The names of the arrays that are not as the authors have them."""
    held = (exatrkx_matching if kind == "matching" else exatrkx).held
    return {row.name for row in held(case(kind)) if not row.passed}


@pytest.mark.parametrize("kind", [*STAGES, "matching"])
def test_each_array_is_compared(kind):
    held = (exatrkx_matching if kind == "matching" else exatrkx).held
    found = {row.name for row in held(case(kind))}
    assert found >= {name for name in case(kind).arrays if name.startswith("out_")}
    assert ("grad_norms" in found) == (kind in ("embedding", "filter"))


def test_the_gradient_of_the_network_is_the_slope_of_its_loss(monkeypatch):
    """The case has 0 for each weight, which no loss that depends on them has."""
    given = case("gnn")
    assert not given.arrays["grad_norms"].any()
    (row,) = [row for row in exatrkx.held(given) if row.name == "gradient by differences"]
    assert row.passed
    module = exatrkx.module_of(given)
    most = message_passing.most
    monkeypatch.setattr(message_passing, "most", lambda *a: most(*a).detach())
    assert not exatrkx.by_differences(given, module).passed


def relu_for_tanh(patch):
    patch.setattr(nn.Tanh, "forward", lambda _, x: functional.relu(x))


def other_norm(patch):
    patch.setattr(nn.LayerNorm, "forward", lambda _, x: x / x.norm(dim=1, keepdim=True))


def off_the_sphere(patch):
    patch.setattr(network.functional, "normalize", lambda x, **_: x)


def margin_of_a_distance(patch):
    cost = space_losses.Hinge.cost
    patch.setattr(
        space_losses.Hinge,
        "cost",
        lambda self, *a: cost(replace(self, margin=self.margin**0.5), *a),
    )


def true_pairs_once(patch):
    joined = space_losses.with_true

    def changed(candidates, edges, points):
        pairs, true = joined(candidates, edges, points)
        return pairs[:, : -edges.shape[1]], true[: -edges.shape[1]]

    patch.setattr(space_losses, "with_true", changed)


def one_mean_of_all_pairs(patch):
    def cost(self, points, pairs, true, batch):
        distance = space_losses.squares(points, pairs)
        apart = (self.margin**2 - distance).clamp(min=0)
        values = torch.where(true, self.true_weight * distance, apart)
        return space_losses.over_events(values, pairs, batch)

    patch.setattr(space_losses.Hinge, "cost", cost)


def neighbours_without_the_point(patch):
    near = space_losses.Hinge.near
    patch.setattr(
        space_losses.Hinge,
        "near",
        lambda self, *a: near(replace(self, neighbours=self.neighbours + 1), *a),
    )


def pairs_turned(patch):
    near = space_losses.Hinge.near
    patch.setattr(space_losses.Hinge, "near", lambda *a: near(*a).flip(0))


def norm_before_activation(patch):
    def forward(self, points, edges):
        x = network.of_ends(points, edges, self.first)
        for layer in self.further:
            x = layer(x)
            for name in self.used:
                x = self.norms[name](x)
            x = x.tanh()
        return self.out(x).squeeze(1)

    patch.setattr(network.Filter, "forward", forward)


def norms_exchanged(patch):
    made = network.Filter.__init__

    def changed(self, *given):
        made(self, *given)
        self.used = self.used[::-1]

    patch.setattr(network.Filter, "__init__", changed)


def unbiased_variance(patch):
    var_mean = torch.var_mean
    patch.setattr(torch, "var_mean", lambda x, d, **_: var_mean(x, d, correction=1))


def ends_exchanged(patch):
    ends = network.of_ends
    patch.setattr(network, "of_ends", lambda p, e, first: ends(p, e.flip(0), first))


def gelu_for_silu(patch):
    patch.setattr(nn.SiLU, "forward", lambda _, x: functional.gelu(x))


def sum_before_maximum(patch):
    total, most = message_passing.total, message_passing.most
    patch.setattr(message_passing, "total", most)
    patch.setattr(message_passing, "most", total)


def without_residuals(patch):
    def forward(self, points, states, edges):
        seen = [
            f(states, edges[1], len(points)) for f in (message_passing.most, message_passing.total)
        ]
        return self.of_points(torch.cat([points, *seen], 1)), self.of_edges(points, edges, states)

    patch.setattr(message_passing.Interaction, "forward", forward)


def edges_see_new_points(patch):
    forward = message_passing.Interaction.forward

    def changed(self, points, states, edges):
        after, _ = forward(self, points, states, edges)
        return after, states + self.of_edges(after, edges, states)

    patch.setattr(message_passing.Interaction, "forward", changed)


def true_edges_count_once(patch):
    entropies = exatrkx.entropies
    patch.setattr(exatrkx, "entropies", lambda logits, true, _: entropies(logits, true, 1.0))


def half_is_a_majority(patch):
    patch.setattr(published_matching, "MORE_THAN_HALF", 0.5)


def noise_is_no_particle(patch):
    rule = exatrkx_matching.LabelRule
    patch.setattr(exatrkx_matching, "LabelRule", lambda **k: rule(**k, noise="none"))


def entries_for_hits(patch):
    patch.setattr(published_matching, "_hits", lambda table, _: table.particles.points)


def short_tracks_count(patch):
    rule = exatrkx_matching.LabelRule
    patch.setattr(exatrkx_matching, "LabelRule", lambda **k: rule(**{**k, "min_track_points": 1}))


@pytest.mark.parametrize(
    ("change", "kind", "shows"),
    [
        (relu_for_tanh, "embedding", "out_embedding"),
        (other_norm, "embedding", "out_embedding"),
        (off_the_sphere, "embedding", "out_embedding"),
        (margin_of_a_distance, "embedding", "out_loss0"),
        (true_pairs_once, "embedding", "out_loss0"),
        (one_mean_of_all_pairs, "embedding", "out_loss1"),
        (neighbours_without_the_point, "embedding", "out_pairs1"),
        (pairs_turned, "embedding", "out_pairs1"),
        (norm_before_activation, "filter", "out_logits"),
        (norms_exchanged, "filter", "out_logits"),
        (unbiased_variance, "filter", "out_logits"),
        (ends_exchanged, "filter", "out_logits"),
        (true_edges_count_once, "filter", "out_loss"),
        (gelu_for_silu, "gnn", "out_nodes0_0"),
        (other_norm, "gnn", "out_edges_state0_0"),
        (sum_before_maximum, "gnn", "out_nodes0_0"),
        (without_residuals, "gnn", "out_nodes0_0"),
        (edges_see_new_points, "gnn", "out_edges_state0_0"),
        (true_edges_count_once, "gnn", "out_loss0"),
        (half_is_a_majority, "matching", "out_counts_ATLAS_0.5"),
        (noise_is_no_particle, "matching", "out_counts_ATLAS_0.5"),
        (entries_for_hits, "matching", "out_table_two_way_0.5"),
        (short_tracks_count, "matching", "out_clean_counts_one_way_0.5"),
    ],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_a_change_of_the_function_shows(monkeypatch, change, kind, shows):
    change(monkeypatch)
    assert shows in failed(kind)


def test_implementations_that_leave_out_noise_agree_where_there_is_none(monkeypatch):
    noise_is_no_particle(monkeypatch)
    assert not {name for name in failed("matching") if "clean" in name}


@pytest.mark.parametrize("kind", STAGES)
def test_weights_go_in_and_out_bit_for_bit(kind):
    given, module = case(kind), exatrkx.module_of(case(kind))
    entries = exatrkx.STAGES[given.about["peer_class"]][1](module.backbone.model)
    back = published.exported(module.state_dict(), entries)
    assert back.keys() == given.weights.keys()
    assert all(torch.equal(back[name], each) for name, each in given.weights.items())


def test_a_norm_of_the_filter_that_is_not_used_is_kept():
    given = case("filter")
    given.configuration["hparams"]["batchnorm"] = False
    module = exatrkx.module_of(given)
    assert module.backbone.filter.used == ["layer"]
    state = published.exported(module.state_dict(), names.filter_(module.backbone.model))
    assert torch.equal(state["batchnorm.weight"], given.weights["batchnorm.weight"])
    found = {row.name for row in exatrkx.held(given) if not row.passed}
    assert found == {"out_logits", "out_loss", "grad_norms"}


@pytest.mark.parametrize(
    ("size", "stage", "entries"),
    [
        ("quickstart-cells", "embedding", names.embedding),
        ("quickstart-cells", "gnn", names.network),
        ("trackml", "filter", names.filter_),
    ],
)
def test_initial_values_follow_the_published_laws(size, stage, entries):
    columns = {"columns": ExaTrkX(size="quickstart-cells").columns}
    model = ExaTrkX(size=size, **(columns if stage == "filter" else {}))
    theirs = laws.reference("exatrkx", stage)
    assert laws.differing(lambda: network.build(model, None), entries(model), theirs) == {}


def test_another_law_shows():
    model = ExaTrkX(size="trackml")
    theirs = laws.reference("exatrkx", "gnn")
    model = model.model_copy(update={"width": 128, "columns": ("r", "phi", "z")})

    def per_end():
        """A map of each end drawn by itself, as ours once were."""
        module = network.build(model, None)
        with torch.no_grad():
            module.backbone.of_edges.maps[0].weight.mul_(2**0.5)
        return module

    found = laws.differing(per_end, names.network(model), theirs)
    assert found.keys() == {"edge_encoder.0.weight"}


def test_every_hit_counts_once_for_its_particle():
    """A particle of four hits, all in a track and two of them in another besides."""
    hit, track = np.array([0, 1, 2, 3, 0, 1]), np.array([1, 1, 1, 1, 2, 2])
    event = particle = np.ones(6, np.int64)
    rule = published_matching.LabelRule(min_track_points=2)
    found = published_matching.label_matching(event, hit, particle, track, rule)
    assert found.of_particle.tolist() == [4, 4]
    assert (found.reconstructed, found.duplicates, found.tracks) == (1, 1, 2)
    assert (found.efficiency_of_all, found.fake_rate, found.duplicate_rate) == (1.0, 0.0, 1.0)
