"""OmniJet-alpha's VQ-VAEs are the authors': outputs of their code, and laws of initial values."""

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from torch.nn import functional

from pipeline.families.vqvae import module as network
from pipeline.families.vqvae import published as names
from pipeline.families.vqvae.spec import VQVAE, VQVAEMLP
from pipeline.nn import published, quantiser, transformer
from tests.golden import laws
from tests.golden import omnijet_tokens as golden
from tests.golden.cases import Case

FOLDER = ROOT / "tests" / "golden" / "published"
KINDS = ("vqvae", "vqvae_mlp")


def case(kind):
    return Case(FOLDER / f"omnijet_{kind}")


def failed(kind):
    """The names of the arrays that are not as the authors have them."""
    return {row.name for row in golden.held(case(kind)) if not row.passed}


def styled(patch, **changes):
    """Change a setting of each block."""
    made = transformer.Style.__init__

    def changed(self, *args, **settings):
        made(self, *args, **{**settings, **changes})

    patch.setattr(transformer.Style, "__init__", changed)


def changed_beta(patch):
    made = golden.model_of
    patch.setattr(golden, "model_of", lambda case: made(case, beta=0.1))


def other_affine(patch):
    made = golden.model_of
    patch.setattr(golden, "model_of", lambda case: made(case, affine_rate=1.0))


def other_norm(patch):
    made = transformer.Block.__init__

    def changed(self, style):
        made(self, style)
        self.norm_attended.eps = 1e-3

    patch.setattr(transformer.Block, "__init__", changed)


def without_sync(patch):
    made = golden.model_of
    patch.setattr(golden, "model_of", lambda case: made(case, sync=0.0))


def without_padding(patch):
    made = golden.model_of
    patch.setattr(golden, "model_of", lambda case: made(case, padding="left_out"))


@pytest.mark.parametrize(
    ("kind", "change", "shows"),
    [
        ("vqvae", lambda p: styled(p, activation="gelu"), "out_encoder_block0"),
        ("vqvae", other_norm, "out_encoder_block0"),
        ("vqvae_mlp", lambda p: p.setattr(functional, "relu", functional.silu), "out_latent"),
        ("vqvae", other_affine, "out_codebook"),
        ("vqvae_mlp", changed_beta, "grad_norms"),
        ("vqvae", without_sync, "grad_norms"),
        ("vqvae", without_padding, "out_loss_commitment"),
        ("vqvae_mlp", without_padding, "out_loss_reconstruction"),
    ],
)
def test_a_change_of_the_function_shows(monkeypatch, kind, change, shows):
    assert failed(kind) == set()
    change(monkeypatch)
    assert shows in failed(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_go_in_and_out_bit_for_bit(kind):
    given, model = case(kind), golden.model_of(case(kind))
    module = golden.module_of(given, model)
    back = published.exported(module.state_dict(), names.entries(model))
    theirs = {n: w for n, w in given.weights.items() if n not in golden.THEIR_BUFFERS}
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], theirs[name]) for name in back)


@pytest.mark.parametrize(
    ("configuration", "model"),
    [("normformer", VQVAE(size="c8192", blocks=1)), ("mlp", VQVAEMLP(size="c8192"))],
)
def test_initial_values_follow_the_published_laws(configuration, model):
    theirs = laws.reference("omnijet-vqvae", configuration)
    found = laws.differing(lambda: network.build(model, None), list(names.entries(model)), theirs)
    assert found == {}


def test_it_has_as_many_parameters_as_the_authors_print():
    assert VQVAE(size="c8192").parameters().trained == 833_551
    assert VQVAEMLP(size="c8192").parameters().trained == 100_879


def test_a_transformer_hands_on_what_it_is_given_at_first():
    module = network.build(VQVAE(codes=8, dropout=0.0), None)
    x = torch.randn(5, 128)
    for block in module.encoder.blocks:
        assert torch.equal(block(x, network.Lengths.of(torch.tensor([0, 5]))), x)


def test_codes_that_move_stand_where_they_were_moved_to_whatever_the_affine_map():
    made = quantiser.Quantiser(4, 2, beta=0.9, sync=1.0, replacement_steps=5, affine_rate=2.0)
    with torch.no_grad():
        made.scale += torch.tensor([0.3, -0.2])
        made.shift += torch.tensor([1.0, -2.0])
    before = made.codebook.detach().clone()
    made._move(torch.tensor([1, 3]), torch.tensor([[5.0, 6.0], [7.0, 8.0]]))
    assert torch.equal(made.codebook[[0, 2]], before[[0, 2]])
    expected = torch.tensor([[5.0, 6.0], [7.0, 8.0]])
    torch.testing.assert_close(made.codebook[[1, 3]].detach(), expected)


def test_dropout_is_inside_the_branches():
    block = network.build(VQVAE(size="c512"), None).encoder.blocks[0]
    assert (block.attention.dropout, block.feed_forward.dropout.p, block.dropout.p) == (0.1, 0.1, 0)
