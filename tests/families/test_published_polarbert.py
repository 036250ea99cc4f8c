"""PolarBERT is the authors': outputs of their code, and the laws of their initial values."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from torch import nn
from torch.nn import functional

from pipeline.data.experiments import icecube
from pipeline.data.preparation import serialise
from pipeline.downstream.direction import module as head
from pipeline.downstream.direction.spec import DirectionTask
from pipeline.families.polarbert import module as network
from pipeline.families.polarbert import objective
from pipeline.families.polarbert import published as names
from pipeline.families.polarbert.spec import PolarBERT
from pipeline.nn import published, transformer
from pipeline.training.network import Downstream
from tests.golden import laws, polarbert
from tests.golden.cases import Case

FOLDER = ROOT / "tests" / "golden" / "published"
PRETRAINED = ("flash", "swiglu", "base")


def case(kind):
    return Case(FOLDER / f"polarbert-{kind}")


def failed(kind):
    """The names of the arrays that are not as the authors have them."""
    return {row.name for row in polarbert.held(case(kind)) if not row.passed}


@pytest.mark.parametrize("kind", PRETRAINED)
def test_predictions_losses_and_gradients_are_compared(kind):
    found = {row.name for row in polarbert.held(case(kind))}
    expected = {"mask", "charge", "logit_of_target", "sums_of_logits", "grad_loss_total"}
    assert found >= expected | {f"loss_{name}" for name in ("sensors", "charge", "total")}


def gelu_for_relu(patch):
    patch.setattr(functional, "relu", lambda x, **_: functional.gelu(x))


def other_norm(patch):
    made = transformer.Block.__init__

    def changed(self, style):
        made(self, style)
        for norm in self.norms:
            norm.eps = 1e-6

    patch.setattr(transformer.Block, "__init__", changed)


def gate_and_up_exchanged(patch):
    chunk = torch.Tensor.chunk
    patch.setattr(torch.Tensor, "chunk", lambda x, n, dim=0: chunk(x, n, dim)[::-1])


def post_norm(patch):
    made = transformer.Style.__init__
    patch.setattr(transformer.Style, "__init__", lambda s, **k: made(s, **{**k, "norm": "post"}))


def means_over_pulses(patch):
    def changed(output, batch):
        return {"sensors": objective.entropies(output, batch).mean()}

    patch.setattr(objective, "sensors", changed)


def natural_logarithm(patch):
    patch.setattr(network, "CHARGE_SCALE", network.CHARGE_SCALE * np.log10(np.e))


@pytest.mark.parametrize(
    ("change", "kind", "shows"),
    [
        (gelu_for_relu, "flash", "loss_sensors"),
        (gelu_for_relu, "base", "charge"),
        (other_norm, "flash", "charge"),
        (gate_and_up_exchanged, "swiglu", "logit_of_target"),
        (post_norm, "base", "logit_of_target"),
        (means_over_pulses, "swiglu", "loss_total"),
        (natural_logarithm, "flash", "sums_of_logits"),
        (gelu_for_relu, "direction", "hidden_0"),
    ],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_a_change_of_the_function_shows(monkeypatch, change, kind, shows):
    change(monkeypatch)
    assert shows in failed(kind)


def test_the_head_of_the_direction_has_relu(monkeypatch):
    monkeypatch.setattr(head.nn, "ReLU", nn.GELU)
    assert failed("direction") >= {"direction", "loss"}


def test_the_published_base_attends_to_padding_and_ours_may_not(monkeypatch):
    assert PolarBERT(size="base").padding == "hidden"
    hidden = polarbert.model_of(case("base"), padding="hidden")
    monkeypatch.setattr(polarbert, "model_of", lambda *_, **__: hidden)
    found = failed("base")
    assert {"charge", "loss_charge"} <= found
    assert "if_padding_were_hidden_charge" not in found


def test_pulses_stay_in_the_order_of_the_file(monkeypatch):
    assert failed("preprocessing") == set()
    by_time = serialise.in_time_order
    monkeypatch.setattr(polarbert, "serialise", lambda e, _: (by_time(e), None))
    assert failed("preprocessing") == {"order of the pulses of whole events"}
    assert icecube.ICECUBE.order == "file"


@pytest.mark.parametrize("kind", PRETRAINED)
def test_weights_go_in_and_out_bit_for_bit(kind):
    given, model = case(kind), polarbert.model_of(case(kind))
    entries = list(names.entries(model))
    module = polarbert.loaded(network.build(model, None), given, entries)
    back = published.exported(module.state_dict(), entries)
    assert back.keys() == given.weights.keys()
    assert all(torch.equal(back[name], each.float()) for name, each in given.weights.items())


@pytest.mark.parametrize("size", PRETRAINED)
def test_initial_values_follow_the_published_laws(size):
    model = PolarBERT(size=size, layers=1)
    theirs = laws.reference("polarbert", size)
    found = laws.differing(lambda: network.build(model, None), names.entries(model), theirs)
    assert found == {}


def test_initial_values_of_the_direction_follow_the_published_laws():
    model = PolarBERT(size="flash", layers=1)
    found = laws.differing(
        lambda: Downstream(model, DirectionTask()),
        names.direction(model),
        laws.reference("polarbert", "direction"),
    )
    assert found == {}


def test_another_law_shows():
    flash = PolarBERT(size="flash", layers=1)
    theirs = laws.reference("polarbert", "flash")

    def small_token():
        module = network.build(flash, None)
        with torch.no_grad():
            module.backbone.class_token *= 0.02
        return module

    found = laws.differing(small_token, names.entries(flash), theirs)
    assert found.keys() == {"embedding.cls_embedding"}

    base = PolarBERT(size="base", layers=1, sensors=40)
    plain = base.model_copy(update={"pytorch_layers": False})

    def with_biases():
        module, other = network.build(base, None), network.build(plain, None)
        module.load_state_dict(other.state_dict(), strict=False)
        attention = module.backbone.body.layers[0].attention
        nn.init.uniform_(attention.qkv.bias, -0.06, 0.06)
        nn.init.uniform_(attention.out.bias, -0.06, 0.06)
        return module

    found = laws.differing(with_biases, names.entries(base), laws.reference("polarbert", "base"))
    layer = "transformer.layers.0.self_attn"
    told = {name for name in found if name.startswith(layer)}
    parts = ("in_proj_weight", "in_proj_bias", "out_proj.bias")
    assert told == {f"{layer}.{part}" for part in parts}


def test_base_drops_what_pytorch_s_layer_drops():
    base = network.build(PolarBERT(size="base", layers=1, sensors=40), None).backbone.body
    (layer,) = base.layers
    assert (layer.dropout.p, layer.attention.dropout, layer.feed_forward.dropout.p) == (0.1,) * 3
    flash = network.build(PolarBERT(size="flash", layers=1, sensors=40), None).backbone.body
    (layer,) = flash.layers
    assert (layer.dropout.p, layer.attention.dropout, layer.feed_forward.dropout.p) == (0.0,) * 3
