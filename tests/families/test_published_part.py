"""Particle Transformer, its inputs and pairs are the authors' own, and so are initial weights."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn import functional

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.campaign import model_folder
from pipeline.data import jet_inputs
from pipeline.data.errors import BadInput
from pipeline.families.interactions import INTERACTIONS
from pipeline.families.part import module as network
from pipeline.families.part import published as names
from pipeline.families.part.spec import ParT
from pipeline.families.particlenet.spec import ParticleNet
from pipeline.nn import interactions, published, systems
from pipeline.training.programs import convert
from tests.golden import jet_inputs as held_inputs
from tests.golden import pairs as held_pairs
from tests.golden import part as held_part
from tests.golden.__main__ import held
from tests.golden.cases import Case

FOLDER = ROOT / "tests" / "golden" / "published"
ARRAYS = {
    "part_jetclass": {"f64_logits", "f64_loss", "f64_grad_norms", "f64_logits_training"},
    "part_sophon": {"f64_logits", "f64_loss", "f64_grad_norms", "f64_logits_training"},
    "pair_features": {f"f64_pairs{number}" for number in range(4)},
    "jetclass_inputs": {"out_features_full", "out_features_kinpid", "out_features_kin"},
}
TOKEN_STD = 0.02
NETWORKS = ["part_jetclass", "part_sophon"]


@pytest.mark.parametrize("name", ARRAYS)
def test_each_array_is_the_authors(name):
    rows = list(held(Case(FOLDER / name)))
    assert {row.name for row in rows} >= ARRAYS[name]
    assert [row for row in rows if not row.passed] == []


def heads_scaled(self, attended):
    """The factors of the heads before they are mixed."""
    scaled = attended * self.scale.unsqueeze(-1)
    return self.out(scaled.flatten(1))


def token_normed(self, token, x, batch):
    """The class token is normalised as a query too."""
    both, offsets = network.with_token(x, token, batch)
    attended = self.attention.attend_token(self.before(token), self.before(both), offsets)
    return self._fed(token, attended)


def residual_of_both(self, x, attended):
    """The factor of the residual is on the whole block's, not on the second half's."""
    x = self.past * x + self.behind(attended)
    return x + self.down(self.norm_inside(self.activation(self.up(self.norm(x)))))


def norm_before_activation(self, x, attended):
    """The norm of the feed-forward stands before its activation."""
    x = x + self.behind(attended)
    return self.past * x + self.down(self.activation(self.norm_inside(self.up(self.norm(x)))))


def with_pseudorapidity(particles):
    """The angle to the beam for the rapidity."""
    px, py, pz, _ = particles.unbind(-1)
    pt = torch.hypot(px, py)
    return pt, (pz / pt).asinh(), torch.atan2(py, px)


CHANGES = {
    "activation": (nn.GELU, "forward", lambda _, x: functional.relu(x)),
    "tanh of GELU": (nn.GELU, "forward", lambda _, x: functional.gelu(x, approximate="tanh")),
    "factors of heads": (network.ScaledAttention, "_mixed", heads_scaled),
    "query of the token": (network.Block, "attend_token", token_normed),
    "residual": (network.Block, "_fed", residual_of_both),
    "norm of the feed-forward": (network.Block, "_fed", norm_before_activation),
    "rapidity": (interactions, "_measured", with_pseudorapidity),
    "order of pair features": (
        interactions,
        "jets",
        lambda a, b, found=interactions.jets: found(a, b).flip(-1),
    ),
}


@pytest.mark.parametrize("folder", NETWORKS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_function_shows(monkeypatch, change, folder):
    monkeypatch.setattr(*CHANGES[change])
    logits = next(held_part.held(Case(FOLDER / folder)))
    assert logits.name == "f64_logits"
    assert not logits.passed


@pytest.mark.parametrize("folder", NETWORKS)
@pytest.mark.parametrize(
    ("field", "value"), [("bias_activation", None), ("padding", 0)], ids=["activation", "padding"]
)
def test_each_option_is_the_one_of_its_network(monkeypatch, folder, field, value):
    model = held_part.model_of(Case(FOLDER / folder))
    other = not model.bias_activation if value is None else value
    monkeypatch.setattr(held_part, "model_of", lambda _: model.model_copy(update={field: other}))
    found = {row.name: row.passed for row in held_part.held(Case(FOLDER / folder))}
    assert not found["f64_logits_training"]
    assert found["f64_logits"] == (field == "padding")


@pytest.mark.parametrize("name", ["logerel", "logptrel"])
def test_inputs_are_relative_to_the_jet_of_the_file(monkeypatch, name):
    ways = jet_inputs.WAYS
    whole = {"logerel": "jet_energy", "logptrel": "jet_pt"}[name]
    monkeypatch.setitem(ways, whole, ways[whole][1:])  # the sum of the constituents
    rows = list(held_inputs.held(Case(FOLDER / "jetclass_inputs")))
    assert any(not row.passed for row in rows) == (name == "logerel"), "pT of the sum is the file's"


def test_another_shift_of_an_input_shows(monkeypatch):
    shifted = jet_inputs.Way(("log_pt",), jet_inputs.Standard(1.8, 0.7))
    monkeypatch.setitem(jet_inputs.WAYS, "pt_log", (shifted,))
    assert not next(held_inputs.held(Case(FOLDER / "jetclass_inputs"))).passed


def test_pairs_in_single_precision_are_not_exact(monkeypatch):
    exact = held_pairs.jets
    monkeypatch.setattr(torch.Tensor, "double", lambda self: self.float())
    monkeypatch.setattr(held_pairs, "jets", lambda a, b: exact(a.float(), b.float()))
    rows = list(held_pairs.held(Case(FOLDER / "pair_features")))
    assert not all(row.passed for row in rows)
    assert INTERACTIONS["jets"].features == 4


@pytest.fixture
def small():
    """The case, our declaration of it, and the shapes of its module."""
    case = Case(FOLDER / "part_sophon")
    model = held_part.model_of(case)
    state = network.build(model, None).state_dict()
    return case, model, {name: each.shape for name, each in state.items()}


def test_weights_go_in_and_out_bit_for_bit(small):
    case, model, shapes = small
    ours = published.imported(case.weights, names.entries(model), shapes, prefix=names.PREFIX)
    back = published.exported(ours, names.entries(model), prefix=names.PREFIX)
    there = {n: w for n, w in case.weights.items() if not n.endswith(published.COUNTERS)}
    assert back.keys() == there.keys()
    assert all(torch.equal(back[name], there[name]) for name in there)
    assert ours.keys() == shapes.keys()


def test_files_of_2022_have_other_names_of_two_weights(small):
    case, model, shapes = small
    older = {n.replace(".in_proj.", ".in_proj_"): w for n, w in case.weights.items()}
    older["mod.trimmer._counter"] = torch.zeros(1)
    weights = names.weights_of(older)
    ours = published.imported(weights, names.entries(model), shapes, prefix=names.PREFIX)
    assert ours.keys() == shapes.keys()


@pytest.mark.parametrize("folder", NETWORKS)
def test_weights_of_any_version_are_imported_and_given_back(tmp_path, folder):
    case = Case(FOLDER / folder)
    older = {n.replace(".in_proj.", ".in_proj_"): w for n, w in case.weights.items()}
    torch.save(older, tmp_path / "theirs.pt")
    convert.import_weights("part", tmp_path / "theirs.pt", tmp_path / "ours")
    declared = model_folder.read(tmp_path / "ours").model
    model = held_part.model_of(case)
    shapes = {"padding": 0, "dropout": 0.1, "bias_activation": True}  # what shapes do not say
    assert declared == model.model_copy(update=shapes)
    convert.export_weights(tmp_path / "ours", tmp_path / "back.safetensors")
    back = published.read(tmp_path / "back.safetensors")
    assert all(torch.equal(back[name], case.weights[name]) for name in back)


def test_sizes_are_known_by_their_shapes():
    for size in ("full", "kinpid", "kin", "plain", "sophon"):
        model = ParT(size=size)
        with torch.device("meta"):
            state = network.build(model, None).state_dict()
        theirs = published.exported(state, names.entries(model))
        changes = {"size": "", "bias_activation": True}
        if size == "plain":  # what has no pairs has no widths of them
            changes["pair_widths"] = ()
        assert names.declared(theirs) == model.model_copy(update=changes)
    with pytest.raises(BadInput, match="not the weights of a ParT"):
        names.declared({"embed.input_bn.weight": torch.zeros(17)})


def uniform(bound):
    """The standard deviation of a uniform law from -bound to bound."""
    return bound / 3**0.5


def xavier(inputs, outputs):
    """The standard deviation of Xavier's uniform law."""
    return uniform((6 / (inputs + outputs)) ** 0.5)


def of_torch(inputs):
    """The standard deviation of the law of torch's linear layers."""
    return uniform(inputs**-0.5)


def spread_2022(name, inputs, outputs):
    """The standard deviation of a weight of ParT, `as_of_2022_34e2ee2` of init/part.json."""
    if ".attention.qkv." in name:
        return 0 if name.endswith("bias") else xavier(inputs, outputs)
    return 0 if name.endswith("attention.out.bias") else of_torch(inputs)


def spread_2024(name, inputs, outputs):
    """The standard deviation of a weight of ParT, `snapshot_154db69` of init/part.json."""
    if ".pairs." in name:
        return of_torch(inputs)
    if name.endswith("bias"):
        return 0
    if ".attention.qkv." in name:
        return xavier(inputs, outputs / 3)
    kind, *rest = name.removeprefix("backbone.").split(".")
    last = kind == "blocks" and name.endswith(("attention.out.weight", "down.weight"))
    return xavier(inputs, outputs) / ((2 * (int(rest[0]) + 1)) ** 0.5 if last else 1)


def of_particlenet(_, inputs, __):
    """The standard deviation of a weight of ParticleNet, of init/particlenet.json."""
    return of_torch(inputs)


@pytest.mark.parametrize(
    ("model", "spread"),
    [
        (ParT(size="full"), spread_2022),
        (ParT(size="full", initial="2024"), spread_2024),
        (ParT(size="sophon"), spread_2022),
        (ParticleNet(size="full"), of_particlenet),
    ],
    ids=["2022", "2024", "sophon", "particlenet"],
)
def test_every_initial_weight_has_the_law_of_the_authors(model, spread):
    modules = []
    for seed in range(3):
        torch.manual_seed(seed)
        modules.append(systems.build(model, None).module)
    linear = {
        f"{name}.{kind}": (each.in_features, each.out_features)
        for name, each in modules[0].named_modules()
        if isinstance(each, nn.Linear)
        for kind in ("weight", "bias")
    }
    for name, first in modules[0].named_parameters():
        seeds = [module.get_parameter(name).detach().numpy().ravel() for module in modules]
        values = np.concatenate(seeds)
        if name in linear or name == "backbone.token":
            expected = spread(name, *linear[name]) if name in linear else TOKEN_STD
            error = 4.5 * expected / values.size**0.5
            assert abs(values.mean()) <= error, name
            assert values.std() == pytest.approx(expected, rel=0, abs=error), name
        else:  # norms, and factors of slices and of the residual
            assert (values == (0 if name.endswith("bias") else 1)).all(), name
        assert first.requires_grad


def test_the_published_versions_are_the_default():
    assert ParT().initial == "2022"
    assert ParT().bias_activation
    sophon = ParT(size="sophon")
    assert not sophon.bias_activation
    with torch.device("meta"):
        module = network.build(sophon, None)
    assert sum(each.numel() for each in module.parameters()) == sophon.parameters().trained
