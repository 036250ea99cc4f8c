"""OmniLearned's PET v2 is the authors': its function, losses, loading and initial values."""

import json
import sys
from functools import partial
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.data.errors import BadInput
from pipeline.families.omnilearned import body, comparison, objective, pet
from pipeline.families.omnilearned import module as network
from pipeline.families.omnilearned import published as names
from pipeline.families.omnilearned.spec import OmniLearned
from pipeline.nn import interactions, published
from pipeline.training.engine.optimisers import Scale, with_faster
from pipeline.training.programs import convert, finetune
from tests.golden import laws, omnilearned, omnilearned_loading
from tests.golden.cases import Case

FOLDER = ROOT / "tests" / "golden" / "published"
KINDS = ("classifier", "generator", "pretrain", "finetune_ftag")


def case(kind):
    return Case(FOLDER / f"omnilearned-{kind}")


def failed(kind):
    """The names of the arrays that are not as the authors have them."""
    return {row.name for row in omnilearned.held(case(kind)) if not row.passed}


def norm_before_gelu(self, x):
    return self.down(functional.gelu(self.norm(self.up(x))))


def tokens_normalised(self, tokens, others, offsets):
    tokens = tokens + self.attention.of_tokens(self.norm(tokens), self.norm(others), offsets)
    return tokens + self.feed_forward(self.norm(tokens))


def no_norm_of_tokens(self, tokens, others, offsets):
    tokens = tokens + self.attention.of_tokens(tokens, others, offsets)
    return tokens + self.feed_forward(tokens) + 0 * self.norm(tokens)


def near_minus_centre(self, described, edges, forward=pet.LocalAttention.forward):
    flows = described.shape[1] - 3
    return forward(self, torch.cat([-described[:, :flows], described[:, flows:]], 1), edges)


def larger_pt(a, b, pairs=interactions.pet):
    found = pairs(a, b)
    higher = torch.maximum(a[..., 2], b[..., 2]) - torch.minimum(a[..., 2], b[..., 2])
    return torch.cat(
        [found[..., :2], found[..., 2:] + higher.unsqueeze(-1) * (found[..., 2:] != 0)], -1
    )


def distance_squared(a, b, pairs=interactions.pet):
    return pairs(a, b) * torch.tensor([1.0, 2.0, 1.0])


def clamped(a, b, pairs=interactions.pet):
    return torch.where(pairs(a, b) == 0, -18.4, pairs(a, b))


def one_less(points, offsets, count, nearest=body.nearest):
    return nearest(points, offsets, count - 1)


def time_not_times_itself(self, time):
    return 2**0.5 * torch.cos(self.frequencies * time.unsqueeze(1) + self.phases)


def unknown_in_noise(self, batch, noise=None, *, known=True, forward=body.Backbone.forward):
    return forward(self, batch, noise, known=known and noise is None)


def points_alone(self, seen, batch, forward=network.Generator.forward):
    return forward(self, body.Seen(seen.points, seen.tokens[:, :0], seen.time), batch)


def with_tokens(seen):
    there = [each for each in (seen.tokens, seen.time, seen.conditions) if each is not None]
    return torch.cat(there, 1)


FUNCTION = {
    "GELU by tanh": (functional, "gelu", partial(functional.gelu, approximate="tanh")),
    "norm before GELU": (pet.Perceptron, "forward", norm_before_gelu),
    "norms in the class head": (pet.TokenBlock, "forward", tokens_normalised),
    "no norm in the class head": (pet.TokenBlock, "forward", no_norm_of_tokens),
    "sign of a difference": (pet.LocalAttention, "forward", near_minus_centre),
    "one neighbour less": (body, "nearest", one_less),
    "kT of the larger pT": (interactions, "pet", larger_pt),
    "square of the distance": (interactions, "pet", distance_squared),
    "logarithms cut": (interactions, "pet", clamped),
    "tokens that see tokens": (body.Seen, "others", property(with_tokens)),
}


@pytest.mark.parametrize("change", FUNCTION)
def test_a_change_of_the_function_shows(monkeypatch, change):
    monkeypatch.setattr(*FUNCTION[change])
    assert failed("classifier") >= {"logits", "f64_logits"}


IN_NOISE = {
    "time": (pet.Fourier, "forward", time_not_times_itself),
    "points alone in the second head": (network.Generator, "forward", points_alone),
}


@pytest.mark.parametrize("change", IN_NOISE)
def test_a_change_of_the_flow_shows(monkeypatch, change):
    monkeypatch.setattr(*IN_NOISE[change])
    assert failed("generator") >= {"velocity", "loss", "sampled"}


def test_kinds_and_additional_columns_are_shown_in_noise(monkeypatch):
    monkeypatch.setattr(body.Backbone, "forward", unknown_in_noise)
    found = failed("pretrain")
    assert found >= {"velocity", "logits_noised"}
    assert "logits" not in found


def test_label_of_the_jet_is_a_token_for_classes_of_points(monkeypatch):
    monkeypatch.setattr(network, "labels", lambda batch, _: 0 * batch.per_event["label"])
    found = failed("finetune_ftag")
    assert "point_logits" in found
    assert "logits" not in found


def test_losses_are_theirs_to_the_weights_of_classes_and_the_sum_over_columns(monkeypatch):
    flow, classes = objective.flow, objective.classes

    def per_column(output, batch):
        return {"flow": flow(output, batch)["flow"] / 4}

    def one_way(output, batch):
        near = output.compared
        products = objective.SHARPNESS * near.clean @ near.noisy.T
        entropy = functional.cross_entropy(products, torch.arange(len(products)))
        return {"contrastive": near.signal * entropy}

    def unweighted(output, batch, **given):
        return classes(output, batch, **{**given, "weighted": False})

    def unsplit(output, batch, **_):
        return classes(output, batch)

    for where, name, other, shows in (
        (objective, "flow", per_column, "part_loss_gen"),
        (objective, "classes", unweighted, "loss"),
        (objective, "classes", unsplit, "part_events_loss_class_event"),
        (objective, "contrastive", one_way, "part_clip_loss_clip"),
        (objective, "SHARPNESS", 2.0, "part_clip_loss_clip"),
        (comparison, "SHORTEST", 1e3, "part_clip_loss_clip"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, other)
            assert shows in failed("pretrain"), name


def test_what_fine_tuning_carries_over_is_theirs(monkeypatch):
    loading = case("finetune_loading")
    assert [row for row in omnilearned_loading.held(loading) if not row.passed] == []
    monkeypatch.setattr(OmniLearned, "ANEW", ())
    monkeypatch.setattr(OmniLearned, "FASTER", ("generator.",))
    wrong = {row.name for row in omnilearned_loading.held(loading) if not row.passed}
    assert wrong == {
        *("generator: carried", "generator: not carried"),
        *(f"{kind}: rates and decay" for kind in ("classifier", "generator", "ftag")),
    }


def test_only_the_rate_of_what_is_named_is_another():
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    scaled = {"1.bias": Scale(rate=2.0, decay=3.0)}
    found = with_faster(scaled, module, ("1.",), 5.0)
    assert found == {"1.weight": Scale(rate=5.0), "1.bias": Scale(rate=10.0, decay=3.0)}
    assert with_faster(scaled, module, ("1.",), 1.0) == scaled


@pytest.mark.parametrize("kind", KINDS)
def test_weights_go_in_and_out_bit_for_bit_and_say_what_they_are_of(kind):
    found = case(kind)
    model, state = omnilearned.model_of(found), omnilearned.module_of(found).state_dict()
    back = published.exported(state, names.entries(model))
    assert back.keys() == found.weights.keys()
    assert all(torch.equal(back[name], each) for name, each in found.weights.items())
    declared = names.declared(found.weights)
    unnamed = {"kind", "additional", "conditions", "steps"}
    assert declared.model_dump(exclude=unnamed) == model.model_dump(exclude=unnamed)
    assert declared.architecture == model.architecture


def test_weights_of_something_else_are_refused():
    with pytest.raises(BadInput, match="not the weights of OmniLearned's PET v2"):
        names.declared({"fc.weight": torch.zeros(2, 2)})


def test_pretrained_weights_begin_a_classifier_of_other_classes(tmp_path):
    convert.import_weights(
        "omnilearned", case("pretrain").path / "weights.safetensors", tmp_path / "theirs"
    )
    pretrained = finetune.trained(tmp_path / "theirs")
    model = names.declared(case("pretrain").weights).model_copy(
        update={"mode": "classifier", "classes": 3, "kinds": 0, "additional": ()}
    )
    torch.manual_seed(0)
    module = network.build(model, None)
    drawn = {name: each.clone() for name, each in module.state_dict().items()}
    finetune.start(module, tmp_path / "theirs", model)
    anew = {n for n, each in module.state_dict().items() if torch.equal(each, drawn[n])}
    assert anew == {"classes.weight", "classes.bias"}
    assert all(
        torch.equal(each, pretrained[name])
        for name, each in module.state_dict().items()
        if name not in anew
    )
    wider = model.model_copy(update={"width": 32})
    with pytest.raises(BadInput, match="weights of a model of width 16; this one is of width 32"):
        finetune.start(network.build(wider, None), tmp_path / "theirs", wider)
    with pytest.raises(
        BadInput, match="classes 210, mode pretrain, kinds 9, additional 4; this one"
    ):
        finetune.trained(tmp_path / "theirs", model)


def test_initial_values_follow_the_published_laws():
    model = OmniLearned(size="small", layers=1, head_layers=1)
    found = laws.differing(
        lambda: network.build(model, None),
        names.entries(model),
        laws.reference("omnilearned", "small"),
    )
    assert found == {}


def test_what_is_trained_is_what_they_train():
    text = (laws.FOLDER / "omnilearned.json").read_text()
    theirs = json.loads(text)["configurations"]["small"]["parameters"]
    model = OmniLearned(size="small", layers=1, head_layers=1)
    module = network.build(model, None)
    trained = {name for name, each in module.named_parameters() if each.requires_grad}
    for entry in names.entries(model):
        assert (entry.ours in trained) == theirs[str(entry.theirs)]["trainable"], entry
    assert not module.backbone.kinds.weight[0].any()


def test_another_law_shows():
    model = OmniLearned(size="small", layers=1, head_layers=1)

    def of_unit_size():
        module = network.build(model, None)
        with torch.no_grad():
            module.backbone.tokens *= 50
            module.backbone.local.entry.up.weight *= 4
        return module

    found = laws.differing(
        of_unit_size, names.entries(model), laws.reference("omnilearned", "small")
    )
    assert found.keys() == {"body.token", "body.local_physics.mlp.fc1.weight"}
