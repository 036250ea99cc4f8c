"""Coordinate checks: what flows through a model, and how training moves it, at any size.

The root mean square of every activation, and of its change after a few steps, is fitted as a power
of the width (or depth): a rule that carries a learning rate over gives a power near 0.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from made_batches import batch
from ranks import training
from torch import nn
from torch.nn import functional

from pipeline.catalog import DeclarationError
from pipeline.families import Family, Parametrisation
from pipeline.families.fm4npp.module import NeighbourPredictor
from pipeline.families.fm4npp.objective import neighbours
from pipeline.families.fm4npp.spec import FM4NPPMamba2
from pipeline.training.engine.optimisers import groups, optimiser
from pipeline.training.parametrisation import parametrise

STEPS, SEEDS = 4, (0, 1, 2)
WIDTHS = (64, 128, 256, 512)


def rms(values):
    """The root mean square of a tensor."""
    return values.double().square().mean().sqrt().item()


def activations(model, names, inputs):
    """What the modules `names` of `model` give, by name."""
    found = {}
    modules = dict(model.named_modules())
    hooks = [
        modules[name].register_forward_hook(
            lambda _module, _given, out, name=name: found.__setitem__(name, out.detach().clone())
        )
        for name in names
    ]
    model(inputs)
    for hook in hooks:
        hook.remove()
    return found


def moved(build, declared, inputs, loss, *, rate, names):
    """The RMS of each activation when fresh, and of its change after some steps; seeds' mean."""
    told = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        model = build(declared)
        asked = training(learning_rate=rate, weight_decay=0.0)
        scales = parametrise(model, build, declared)
        stepped = optimiser(asked, groups(model, asked, scales))
        before = activations(model, names, inputs)
        for _ in range(STEPS):
            stepped.zero_grad()
            loss(model(inputs)).backward()
            stepped.step()
        after = activations(model, names, inputs)
        told.append([(rms(before[n]), rms(after[n] - before[n])) for n in names])
    return np.mean(told, axis=0)


def powers(sizes, told):
    """The power of the size that each number grows by, (names, 2): fresh, and of the change."""
    logs = np.log([numbers.reshape(-1) for numbers in told])
    return np.polyfit(np.log(sizes), logs, 1)[0].reshape(-1, 2)


def mamba(width, rule):
    """A declared model of a width."""
    ruled = Parametrisation(rule=rule, base_width=64) if rule == "mup" else Parametrisation()
    return FM4NPPMamba2(width=width, layers=2, neighbours=4, parametrisation=ruled)


MAMBA_NAMES = ["backbone.layers.0", "backbone.layers.1", "backbone.layers.1.mixer", "head"]


@pytest.fixture(scope="module")
def mamba_powers():
    """The powers of the width of Mamba2 blocks, by rule."""
    inputs = batch([40] * 4, seed=3, neighbours=4)

    def loss(output):
        return sum(neighbours(output, inputs).values())

    def told(rule):
        for width in WIDTHS:
            declared = mamba(width, rule)
            yield moved(NeighbourPredictor, declared, inputs, loss, rate=1e-3, names=MAMBA_NAMES)

    return {rule: powers(WIDTHS, list(told(rule))) for rule in ("standard", "mup")}


@pytest.mark.slow
def test_under_mup_training_moves_mamba_blocks_alike_at_every_width(mamba_powers):
    fresh, change = mamba_powers["mup"].T
    assert np.abs(fresh[:3]).max() < 0.05
    assert np.abs(change).max() < 0.1
    assert fresh[3] < -0.3, "the head begins smaller, the wider it is"


@pytest.mark.slow
def test_under_the_standard_rule_wider_mamba_blocks_move_more(mamba_powers):
    fresh, change = mamba_powers["standard"].T
    assert np.abs(fresh).max() < 0.1
    assert change[:3].min() > 0.2


class Block(nn.Module):
    """Attention of one head, then two linear layers, each before its norm, each scaled."""

    def __init__(self, width, residual_scale=1.0):
        super().__init__()
        self.residual_scale = residual_scale
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))

    def forward(self, x):
        q, k, v = self.qkv(self.norms[0](x)).chunk(3, dim=-1)
        # µP attends with 1 / D instead of 1 / √D (Yang et al., definition 4.1), up to its base.
        seen = (q @ k.transpose(-1, -2) * 8 / q.shape[-1]).softmax(-1) @ v
        x = x + self.residual_scale * self.out(seen)
        return x + self.residual_scale * self.down(functional.gelu(self.up(self.norms[1](x))))


class Transformer(nn.Module):
    """Tokens to the next token."""

    def __init__(self, declared):
        super().__init__()
        width, scale = declared.width, declared.parametrisation.residual_scale(declared.layers)
        self.embedding = nn.Embedding(11, width)
        self.blocks = nn.ModuleList(Block(width, scale) for _ in range(declared.layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 11)

    def forward(self, tokens):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Tokens(Family):
    """The declaration of such a transformer."""

    TITLE: ClassVar[str] = "a transformer of this test"
    OBJECTIVES: ClassVar[Mapping[str, str]] = {}
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {}
    RULES: ClassVar[tuple[str, ...]] = ("mup", "completep")

    family: Literal["tokens"] = "tokens"
    width: int
    layers: int


def tokens(width, layers, rule):
    """A declared transformer, whose base is of width 32 and two layers."""
    bases: dict[str, Any] = {"standard": {}, "mup": {"base_width": 32}}
    bases["completep"] = {"base_width": 32, "base_layers": 2}
    ruled = Parametrisation(rule=rule, **bases[rule])
    return Tokens(width=width, layers=layers, parametrisation=ruled)


def transformer_powers(sizes, declared):
    """The powers of the size of what the blocks add up to, and of the head."""
    words = torch.randint(0, 11, (8, 17), generator=torch.Generator().manual_seed(1))
    words[:, 1::2] = words[:, ::2][:, :8]  # every other token repeats the one before it
    given, wanted = words[:, :-1], words[:, 1:]

    def loss(output):
        return functional.cross_entropy(output.flatten(0, 1), wanted.flatten())

    told = [
        moved(Transformer, each, given, loss, rate=2e-3, names=["norm", "head", last(each)])
        for each in declared
    ]
    return powers(sizes, told)


def last(declared):
    """The name of the last block."""
    return f"blocks.{declared.layers - 1}"


WIDE, DEEP = (32, 64, 128, 256, 512), (2, 4, 8, 16, 32)


def by_width(rule):
    return transformer_powers(WIDE, [tokens(width, 2, rule) for width in WIDE])


def by_depth(rule):
    return transformer_powers(DEEP, [tokens(32, layers, rule) for layers in DEEP])


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["mup", "completep"])
def test_a_transformer_moves_alike_at_every_width(rule):
    _, change = by_width(rule).T
    assert np.abs(change).max() < 0.1


@pytest.mark.slow
def test_completep_moves_a_transformer_alike_at_every_depth():
    fresh, change = by_depth("completep").T
    assert np.abs(fresh).max() < 0.1
    assert np.abs(change).max() < 0.1


@pytest.mark.slow
def test_the_standard_rule_does_not():
    assert by_width("standard")[:, 1].min() > 0.2
    assert by_depth("standard")[2].min() > 0.2
    assert by_depth("mup")[2].min() > 0.2, "mup scales width alone"


def named(scales):
    """Rate, decay and epsilon of each scaled parameter, rounded."""
    return {
        n: (round(s.rate, 6), round(s.decay, 6), round(s.epsilon, 6)) for n, s in scales.items()
    }


def test_completep_scales_as_its_table_says():
    declared = tokens(128, 8, "completep")
    torch.manual_seed(0)
    model = Transformer(declared)
    told = named(parametrise(model, Transformer, declared))
    hidden, vector = (0.25, 4.0, 0.0625), (1.0, 1.0, 0.0625)
    assert told["blocks.7.qkv.weight"] == told["blocks.0.down.weight"] == hidden
    assert told["blocks.0.qkv.bias"] == told["norm.weight"] == told["head.bias"] == vector
    assert told["embedding.weight"] == (1.0, 1.0, 0.25)
    assert told["head.weight"] == (0.25, 4.0, 0.25)
    base = (3 * 32) ** -0.5
    assert model.blocks[3].qkv.weight.std().item() == pytest.approx(base / 2, rel=0.1)
    assert model.head.weight.std().item() == pytest.approx(base / 4, rel=0.2)
    assert {block.residual_scale for block in model.blocks} == {0.25}


def test_mup_has_rules_of_its_own_for_mamba():
    declared = mamba(256, "mup")
    model = NeighbourPredictor(declared)
    told = named(parametrise(model, NeighbourPredictor, declared))
    mixer = "backbone.layers.0.mixer."
    assert told[mixer + "in_proj.weight"] == told[mixer + "out_proj.weight"] == (0.25, 4.0, 1.0)
    assert told[mixer + "A_log"] == told[mixer + "conv_weight"] == (1.0, 1.0, 1.0)
    # Over the rate of a hidden matrix, a quarter: N / √W is twice that of the base, √W / N half.
    assert told[mixer + "lin_B.weight"] == (0.5, 2.0, 1.0)
    assert told[mixer + "lin_C.weight"] == (0.125, 8.0, 1.0)
    mixer = model.backbone.layers[0].mixer
    assert mixer.lin_B.weight.std().item() == pytest.approx((16 / 256) ** 0.5)  # type: ignore[attr-defined]
    assert mixer.lin_C.weight.std().item() == pytest.approx((256 * 16) ** -0.5)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("build", "declared"),
    [(Transformer, tokens(32, 2, "completep")), (NeighbourPredictor, mamba(64, "mup"))],
)
def test_at_the_base_nothing_is_scaled_but_what_has_absolute_rules(build, declared):
    torch.manual_seed(0)
    plain = build(declared).state_dict()
    torch.manual_seed(0)
    model = build(declared)
    told = named(parametrise(model, build, declared))
    assert set(told.values()) == {(1.0, 1.0, 1.0)}
    for name, value in model.state_dict().items():
        if not name.endswith(("lin_B.weight", "lin_C.weight")):
            assert torch.equal(value, plain[name])


def test_frozen_weights_stay_and_the_random_state_too():
    declared = mamba(128, "mup")
    model = NeighbourPredictor(declared)
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    state = torch.get_rng_state()
    told = parametrise(model, NeighbourPredictor, declared)
    assert torch.equal(torch.get_rng_state(), state)
    assert frozen
    for name, value in frozen.items():
        assert name not in told
        assert torch.equal(dict(model.named_parameters())[name], value)


def test_the_standard_rule_scales_nothing():
    model = NeighbourPredictor(mamba(64, "standard"))
    assert parametrise(model, NeighbourPredictor, mamba(64, "standard")) == {}


@pytest.mark.parametrize(("scale", "found"), [(1.0, "0.*1.0"), (None, "none")])
def test_a_model_that_leaves_out_the_residual_factor_is_refused(scale, found):
    declared = tokens(64, 8, "completep")
    model = Transformer(declared)
    for block in model.blocks:
        if scale is None:
            del block.residual_scale
        else:
            block.residual_scale = scale
    with pytest.raises(DeclarationError, match=f"blocks of residual_scale 0.25; found .*{found}"):
        parametrise(model, Transformer, declared)
