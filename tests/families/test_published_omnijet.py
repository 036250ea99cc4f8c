"""OmniJet-alpha's model of tokens is the authors': outputs of their code, initial values."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from made_constituents import feature_batch
from torch.nn import functional

from pipeline.data.preparation import constituents
from pipeline.downstream.jets import module as heads
from pipeline.families.omnijet import module as network
from pipeline.families.omnijet import published as names
from pipeline.families.omnijet.objective import next_token
from pipeline.families.omnijet.spec import OmniJet
from pipeline.nn import published, transformer
from tests.golden import laws, omnijet_classifier, omnijet_inputs
from tests.golden import omnijet as golden
from tests.golden.cases import Case

GPT = Case(ROOT / "tests" / "golden" / "published" / "omnijet_gpt")


def failed():
    """The names of the arrays that are not as the authors have them."""
    return {row.name for row in golden.held(GPT) if not row.passed}


def pre_norm(patch):
    made = transformer.Style.__init__
    patch.setattr(
        transformer.Style, "__init__", lambda s, *a, **k: made(s, *a, **{**k, "norm": "pre"})
    )


def other_norm(patch):
    made = transformer.Block.__init__

    def changed(self, style):
        made(self, style)
        self.norms[1].eps = 1e-3

    patch.setattr(transformer.Block, "__init__", changed)


def all_see_all(patch):
    forward = transformer.Block.forward
    patch.setattr(transformer.Block, "forward", lambda s, x, n, **_: forward(s, x, n))


def keys_for_queries(patch):
    unbind = torch.Tensor.unbind
    patch.setattr(
        torch.Tensor,
        "unbind",
        lambda x, dim=0: unbind(x, dim)[::-1] if dim == 1 and x.ndim == 4 else unbind(x, dim),
    )


@pytest.mark.parametrize(
    ("change", "shows"),
    [
        (lambda p: p.setattr(functional, "relu", functional.gelu), "out_block0"),
        (pre_norm, "out_block0"),
        (other_norm, "out_logits"),
        (all_see_all, "out_loss_sum_per_jet"),
        (keys_for_queries, "out_loss"),
    ],
)
def test_a_change_of_the_function_shows(monkeypatch, change, shows):
    assert failed() == set()
    change(monkeypatch)
    assert shows in failed()


def test_the_likelihood_of_a_jet_is_another_loss():
    ours = golden.model_of(GPT, padding="left_out")
    batch = golden.batch_of(GPT)
    module = golden.loaded(network.build(ours, None), GPT, list(names.entries(ours)))
    loss = float(next_token(module(batch), batch)["next_token"].detach())
    assert loss == pytest.approx(GPT.arrays["out_loss_sum_per_jet"].mean(), rel=1e-5)
    assert module(batch).padding is None


def test_weights_go_in_and_out_bit_for_bit():
    model = golden.model_of(GPT)
    module = golden.loaded(network.build(model, None), GPT, list(names.entries(model)))
    back = published.exported(module.state_dict(), names.entries(model))
    theirs = {n: w for n, w in GPT.weights.items() if not n.endswith(golden.CAUSAL)}
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], theirs[name]) for name in back)


def test_initial_values_follow_the_published_laws():
    model = OmniJet(size="alpha", layers=1)
    found = laws.differing(
        lambda: network.build(model, None),
        list(names.entries(model)),
        laws.reference("omnijet-gpt", "omnijet-gpt"),
    )
    assert found == {}


def test_the_features_are_theirs_and_the_mirrored_difference_of_the_file_is_not(monkeypatch):
    inputs = Case(GPT.path.parent / "omnijet_preprocessing")
    assert {row.name for row in omnijet_inputs.held(inputs) if not row.passed} == set()
    to_axis = constituents._to_axis

    def mirrored(momentum, event, jets):
        pt, deta, dphi = to_axis(momentum, event, jets)
        backward = np.bincount(event, momentum[:, 2], jets) < 0
        return pt, np.where(backward[event], -deta, deta), dphi

    monkeypatch.setattr(constituents, "_to_axis", mirrored)
    failed = {row.name for row in omnijet_inputs.held(inputs) if not row.passed}
    assert failed == {"out_features"}


def test_the_summation_head_is_theirs_but_for_what_it_sums(monkeypatch):
    classifier = Case(GPT.path.parent / "omnijet_classifier")
    found = {row.name: row.passed for row in omnijet_classifier.held(classifier)}
    assert found == dict.fromkeys(("out_backbone", "out_logits", "out_loss", "grad_norms"), True)
    monkeypatch.setattr(functional, "relu", functional.silu)
    assert not any(row.passed for row in omnijet_classifier.held(classifier))


def a_softer_norm(patch):
    made = heads.ClassBlock.__init__

    def changed(self, *given):
        made(self, *given)
        self.norm.eps = 1e-3

    patch.setattr(heads.ClassBlock, "__init__", changed)


def other_activation(patch):
    patch.setattr(heads.functional, "silu", functional.gelu)


def padding_seen(patch):
    forward = heads.ClassBlock.forward
    patch.setattr(
        heads.ClassBlock,
        "forward",
        lambda self, token, points, real: forward(self, token, points, torch.ones_like(real)),
    )


def a_residual(patch):
    forward = heads.ClassBlock.forward

    def changed(self, token, points, real):
        return token + forward(self, token, points, real)

    patch.setattr(heads.ClassBlock, "forward", changed)


def test_the_class_attention_is_theirs():
    case = Case(GPT.path.parent / "omnijet_classifier_attention")
    assert all(row.passed for row in omnijet_classifier.held(case))


@pytest.mark.parametrize("change", [a_softer_norm, other_activation, padding_seen, a_residual])
def test_any_change_of_the_class_attention_shows(monkeypatch, change):
    case = Case(GPT.path.parent / "omnijet_classifier_attention")
    change(monkeypatch)
    failed = {row.name for row in omnijet_classifier.held(case) if not row.passed}
    assert {"out_logits", "grad_norms"} <= failed


@pytest.mark.parametrize("inputs", ["tokens", "continuous"])
def test_a_jet_counts_as_much_in_any_company_where_padding_counts(inputs):
    torch.manual_seed(0)
    model = OmniJet(codes=32, width=16, layers=2, heads=2, padding="counted", inputs=inputs)
    module, batch = network.build(model, None).eval(), feature_batch(3)
    output = module(batch)
    assert output.logits.shape == (len(batch.points) + 3, 34)
    assert output.padding.shape == (3, 34)
    assert output.padded_to == 129
    loss = next_token(output, batch)["next_token"]
    loss.backward()
    assert all(each.grad is not None for each in module.parameters())
