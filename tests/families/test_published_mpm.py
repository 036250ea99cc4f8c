"""MPM, its classifier and its VQ-VAE are the authors': outputs of their code, initial values."""

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.data.errors import BadInput
from pipeline.downstream.jets.module import MeanHead
from pipeline.families.mpm import encoder, objective
from pipeline.families.mpm import module as network
from pipeline.families.mpm import published as names
from pipeline.families.mpm.spec import MPM
from pipeline.families.mpm_vqvae import module as tokenizer
from pipeline.families.mpm_vqvae import objective as price
from pipeline.families.mpm_vqvae import published as tokenizer_names
from pipeline.nn import published
from pipeline.nn.hidden import Hidden
from pipeline.nn.lengths import Lengths
from tests.golden import laws, mpm, mpm_classifier, mpm_vqvae
from tests.golden.cases import Case

FOLDER = ROOT / "tests" / "golden" / "published"
TASKS = {"tokens": mpm, "clusters": mpm, "regression": mpm}
HELD = TASKS | {"classifier": mpm_classifier, "vqvae": mpm_vqvae}
STATES = {"out_embedded", "out_layer0", "out_layer1", "out_encoded", "out_encoder_output"}


def case(kind):
    return Case(FOLDER / f"mpm_{kind}")


def rows(kind):
    """How each array of a case compares, by name."""
    return {row.name: row.passed for row in HELD[kind].held(case(kind))}


def failed(kind):
    return {name for name, passed in rows(kind).items() if not passed}


@pytest.mark.parametrize("kind", HELD)
def test_each_array_is_the_authors(kind):
    given, found = case(kind), rows(kind)
    assert [each.knows(given) for each in (mpm, mpm_classifier, mpm_vqvae)].count(True) == 1
    assert found.keys() >= {name for name in given.arrays if name.startswith("out_")}
    assert found.keys() >= {"grad_norms"} | (STATES if kind in TASKS else set())
    assert all(found.values()), found


def norm_first(self, x):
    """The norm stands before the activation."""
    return self.down(functional.leaky_relu(self.norm(self.up(x)), encoder.SLOPE))


def norm_behind(self, x, lengths):
    """The norm of attention stands behind its last layer."""
    q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)
    return self.norm(self.out(encoder.attend(q, k, v, lengths).flatten(1)))


def keys_first(self, x, lengths):
    """Keys stand before queries."""
    k, q, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)
    return self.out(self.norm(encoder.attend(q, k, v, lengths).flatten(1)))


def interleaved(self, x, lengths):
    """The channels of a head are not next to each other."""
    q, k, v = (
        each.unflatten(-1, (-1, self.heads)).transpose(1, 2) for each in self.qkv(x).chunk(3, 1)
    )
    return self.out(self.norm(encoder.attend(q, k, v, lengths).flatten(1)))


def post_norm(self, x, lengths):
    """Norms stand behind the branches."""
    before, after = self.norms
    x = before(x + self.attention(x, lengths))
    return after(x + self.dense(x))


def without_last_norm(self, x, lengths):
    x = self.entry(x)
    for block in self.blocks:
        x = block(x, lengths)
    return x


def places_subtracted(self, outputs, index, lengths):
    return self.encoder(outputs - self.places[index], lengths)


def places_by_pt(self, outputs, index, lengths):
    return self.encoder(outputs + self.places[index.flip(0)], lengths)


def of_hidden_jets(values, output, batch):
    """Jets of which nothing is hidden are left out."""
    found = per_jet(values, output, batch)
    return found[torch.bincount(batch.event[output.rows], minlength=len(found)) > 0]


def absolute(output):
    """The absolute error in place of the squared."""
    return (output.predicted - output.true).abs().sum(1)


def mean_of_inputs(output):
    """The mean over inputs in place of the sum."""
    return (output.predicted - output.true).square().mean(1)


def added_up(self, hidden, batch):
    """The sum in place of the mean."""
    each = self.each(hidden.points[-1])
    total = each.new_zeros(len(batch.sizes), each.shape[1]).index_add(0, batch.event, each)
    return self.classes(total)


def squared(output, batch):
    """The squared error in place of the absolute."""
    away = (output.made - output.true).square().sum(1)
    return {"reconstruction": price._mean(away, batch)}


def mean_of_points(output, batch):
    """All constituents count alike."""
    return {"reconstruction": (output.made - output.true).abs().sum(1).mean()}


def other(module, **changes):
    """Return a case's model with some settings changed."""
    made = module.model_of
    return (module, "model_of", lambda given: made(given, **changes))


per_jet = objective.per_jet
CHANGES = [
    ("tokens", (functional, "leaky_relu", lambda x, _: functional.relu(x)), "out_embedded"),
    ("tokens", (encoder, "SLOPE", 0.01), "out_embedded"),
    ("tokens", (encoder.Dense, "forward", norm_first), "out_embedded"),
    ("tokens", (encoder.Attention, "forward", norm_behind), "out_layer0"),
    ("tokens", (encoder.Attention, "forward", keys_first), "out_layer0"),
    ("tokens", (encoder.Attention, "forward", interleaved), "out_layer0"),
    ("tokens", (encoder.Block, "forward", post_norm), "out_layer0"),
    ("tokens", (encoder.Trunk, "forward", without_last_norm), "out_encoder_output"),
    ("tokens", other(mpm, mask="learnt"), "out_normalised_with_mask_tokens"),
    ("tokens", (network.SecondEncoder, "forward", places_subtracted), "out_task_output"),
    ("tokens", (network.SecondEncoder, "forward", places_by_pt), "out_task_output"),
    ("tokens", (objective, "SMALLEST", 0.0), "out_loss_per_jet"),
    ("tokens", (objective, "per_jet", of_hidden_jets), "out_loss"),
    ("tokens", other(mpm, masked=0.36), "number hidden, of in_hidden"),
    ("clusters", other(mpm, reads_centres=False), "out_normalised_with_mask_tokens"),
    ("regression", (objective, "squares", absolute), "out_loss"),
    ("regression", (objective, "squares", mean_of_inputs), "out_loss"),
    ("classifier", (MeanHead, "forward", added_up), "out_logits"),
    ("vqvae", (price, "reconstruction", squared), "out_loss_reconstruction"),
    ("vqvae", (price, "reconstruction", mean_of_points), "out_loss_reconstruction"),
    ("vqvae", other(mpm_vqvae, beta=0.1), "grad_norms"),
    ("vqvae", other(mpm_vqvae, sync=1.0), "grad_norms"),
    ("vqvae", other(mpm_vqvae, affine_rate=1.0), "out_codebook"),
    ("vqvae", (tokenizer.Tokens, "raw", lambda _, code: code), "out_codes_of_predict_step"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "shows"), CHANGES)
def test_a_change_of_the_function_shows(monkeypatch, kind, change, shows):
    monkeypatch.setattr(*change)
    assert shows in failed(kind)


def test_a_token_that_passes_a_gradient_shows(monkeypatch):
    """The authors' normaliser passes none, so their mask token never learns."""
    given = case("tokens")
    model = mpm.model_of(given, mask="learnt")
    module = mpm.loaded(network.build(model, None), given, list(names.entries(model)))
    batch = mpm.batch_of(given)
    hidden = torch.from_numpy(given.arrays["in_hidden"][mpm.real_of(given)] > 0)
    objective.tokens(module.predicted(batch, hidden), batch)["tokens"].backward()
    assert float(module.mask.grad.norm()) > 0.01
    theirs = dict(zip(given.arrays["grad_names"], given.arrays["grad_norms"], strict=True))
    assert theirs["masked_token"] == 0


def test_of_two_classes_the_head_has_one_output_as_theirs():
    torch.manual_seed(0)
    head, batch = MeanHead(6, 5, 2), mpm.batch_of(case("tokens"))
    states = torch.randn(len(batch.points), 6)
    logits, labels = head(Hidden([states]), batch), torch.arange(len(batch.sizes)) % 2
    assert head.classes.weight.shape == (1, 5)
    mean = torch.stack([states[batch.event == jet].mean(0) for jet in range(len(batch.sizes))])
    single = head.classes(head.each(mean))[:, 0]
    torch.testing.assert_close(
        functional.cross_entropy(logits, labels),
        functional.binary_cross_entropy_with_logits(single, labels.float()),
    )


@pytest.mark.parametrize("positions", ["inputs", "none"])
def test_a_published_model_without_second_encoder_loads(positions):
    """Their table of inputs stands before the normaliser, at each constituent."""
    given = case("tokens")
    model = mpm.model_of(given, positions=positions)
    left = {n: w for n, w in given.weights.items() if not n.startswith("positional_encoder")}
    del left["pos_encoding"]
    if positions == "inputs":
        left["pos_encoding"] = torch.randn(1, 20, 3)
    module = network.build(model, None)
    shapes = {name: each.shape for name, each in module.state_dict().items()}
    weights = published.imported(names.weights_of(left), names.entries(model), shapes)
    module.eval().load_state_dict(weights)
    batch = mpm.batch_of(given)
    hidden = torch.zeros(len(batch.points), dtype=torch.bool)
    hidden[0] = True
    x = batch.points.clone()
    x[0] = left["masked_token"][0]
    x += left["pos_encoding"][0][batch.index_in_event] if positions == "inputs" else 0.0
    found = module.masked(batch.points, hidden, batch)
    mean, variance = left["node_norm.means"], left["node_norm.vars"]
    torch.testing.assert_close(found, (x - mean) / variance.sqrt())
    assert module.predicted(batch, hidden).predicted.shape == (1, 12)


@pytest.mark.parametrize("kind", [*TASKS, "vqvae"])
def test_weights_go_in_and_out_bit_for_bit(kind):
    given = case(kind)
    model = HELD[kind].model_of(given)
    if kind == "vqvae":
        module, known = mpm_vqvae.module_of(given, model), tokenizer_names
    else:
        module, known = network.build(model, None), names
        mpm.loaded(module, given, list(names.entries(model)))
    back = published.exported(module.state_dict(), known.entries(model))
    theirs = known.weights_of(given.weights)
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], theirs[name]) for name in back)


def test_weights_of_classes_in_a_file_are_refused_by_name():
    weighted = case("tokens").weights | {"class_weights": torch.tensor([1.0, 2.0])}
    with pytest.raises(BadInput, match="class_weights is not 1 everywhere"):
        names.weights_of(weighted)


def test_it_has_as_many_parameters_as_the_authors_model():
    """Theirs has a monitor beside, of 513 for each of ten classes."""
    assert MPM(size="small").parameters().total + 10 * 513 == 2_751_245
    assert case("vqvae").about["parameters"] == mpm_vqvae.model_of(case("vqvae")).parameters().total


def test_initial_values_follow_the_published_laws():
    model = MPM(size="small", layers=1, second_layers=1)
    theirs = laws.reference("mpm", "mpm")
    found = laws.differing(lambda: network.build(model, None), list(names.entries(model)), theirs)
    assert found == {}


def test_blocks_hand_on_what_they_are_given_at_first():
    torch.manual_seed(0)
    module = network.build(MPM(size="small"), None)
    vqvae = tokenizer.build(mpm_vqvae.model_of(case("vqvae")), None)
    lengths = Lengths.of(torch.tensor([0, 5]))
    trunks = (module.backbone.trunk, module.second.encoder.trunk, vqvae.encoder.trunk)
    for trunk in (*trunks, vqvae.decoder.trunk):
        x = torch.randn(5, trunk.norm.weight.shape[0])
        for block in trunk.blocks:
            assert torch.equal(block(x, lengths), x)
