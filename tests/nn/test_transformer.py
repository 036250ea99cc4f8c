"""The families' blocks: their equations, their numbers of parameters, and each event by itself."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn import functional

from pipeline.nn.lengths import Lengths
from pipeline.nn.transformer import Block, Style

WIDTH, HEADS, INNER = 12, 3, 20
SIZES = [5, 1, 5, 9]
LENGTHS = Lengths.of(torch.tensor([0, *SIZES]).cumsum(0))


def block(**changes):
    """A block in float64 with weights that are all random, in evaluation."""
    torch.manual_seed(3)
    made = Block(Style(WIDTH, HEADS, INNER, **changes)).double().eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made


def tokens(seed=4):
    made = torch.Generator().manual_seed(seed)
    return torch.randn(sum(SIZES), WIDTH, generator=made, dtype=torch.float64)


def count(**style):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Block(Style(**style)).parameters())


def pytorchs(ours, activation):
    """PyTorch's own layer with the weights of a block."""
    function = getattr(functional, activation)
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, INNER, 0.0, function, norm_first=ours.style.norm == "pre", dtype=float
    )
    attention, feed_forward = ours.attention, ours.feed_forward
    pairs = [
        (layer.self_attn.out_proj, attention.out),
        (layer.linear1, feed_forward.up),
        (layer.linear2, feed_forward.down),
        (layer.norm1, ours.norms[0]),
        (layer.norm2, ours.norms[1]),
    ]
    for theirs, mine in pairs:
        theirs.load_state_dict(mine.state_dict())
    state = {"in_proj_weight": attention.qkv.weight, "in_proj_bias": attention.qkv.bias}
    layer.self_attn.load_state_dict(state, strict=False)
    return layer.eval()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_it_is_pytorchs_layer_on_each_event(norm, activation, causal):
    ours, x = block(norm=norm, activation=activation), tokens()
    theirs = pytorchs(ours, activation)
    later = nn.Transformer.generate_square_subsequent_mask
    expected = [
        theirs(part.unsqueeze(1), later(len(part), dtype=float) if causal else None).squeeze(1)
        for part in x.split(SIZES)
    ]
    torch.testing.assert_close(ours(x, LENGTHS, causal=causal), torch.cat(expected))


def test_normformer_norms_what_attention_returns():
    ours, x = block(norm="normformer"), tokens()
    before, after = ours.norms
    y = x + ours.norm_attended(ours.attention(before(x), LENGTHS))
    expected = y + ours.feed_forward(after(y))
    torch.testing.assert_close(ours(x, LENGTHS), expected)


def test_swiglu_gates_with_silu():
    feed_forward, x = block(activation="swiglu").feed_forward, tokens()
    gate, up = feed_forward.up(x).split(INNER, dim=-1)
    expected = feed_forward.down(gate * gate.sigmoid() * up)
    torch.testing.assert_close(feed_forward(x), expected)


def test_the_residual_scale_is_on_both_branches():
    ours, x = block(residual=0.25), tokens()
    before, after = ours.norms
    y = x + ours.attention(before(x), LENGTHS) / 4
    torch.testing.assert_close(ours(x, LENGTHS), y + ours.feed_forward(after(y)) / 4)


@pytest.mark.parametrize("norm", ["pre", "post", "normformer"])
def test_without_its_branches_a_block_keeps_the_tokens(norm):
    x = tokens()
    expected = x
    ours = block(norm=norm, residual=0.0)
    if norm == "post":
        for each in ours.norms:
            expected = each(expected)
    torch.testing.assert_close(ours(x, LENGTHS), expected)


def test_dropout_is_for_training():
    ours, x = block(dropout=0.5), tokens()
    torch.testing.assert_close(ours(x, LENGTHS), block()(x, LENGTHS))
    assert not torch.equal(ours.train()(x, LENGTHS), ours(x, LENGTHS))


@pytest.mark.parametrize("part", ["attention", "feed_forward"])
def test_dropout_inside_a_branch_is_for_training(part):
    ours, plain, x = block(dropout_inside=0.5), block(), tokens()
    torch.testing.assert_close(ours(x, LENGTHS), plain(x, LENGTHS))
    given = (x, LENGTHS) if part == "attention" else (x,)
    branch = getattr(ours, part).train()
    assert not torch.equal(branch(*given), branch(*given))
    assert torch.equal(getattr(plain, part).train()(*given), getattr(plain, part)(*given))


def test_inner_channels_are_dropped_behind_the_activation():
    torch.manual_seed(0)
    feed_forward = block(dropout_inside=0.5).feed_forward.train()
    nn.init.zeros_(feed_forward.up.weight)
    nn.init.ones_(feed_forward.up.bias)
    nn.init.zeros_(feed_forward.down.bias)
    nn.init.eye_(feed_forward.down.weight)
    one = float(functional.gelu(torch.ones(1, dtype=float)))
    assert feed_forward(tokens()).unique().tolist() == pytest.approx([0.0, 2 * one])


def test_maps_of_attention_may_begin_as_those_of_pytorchs():
    torch.manual_seed(0)
    ours = Block(Style(64, 4, 64, initial="multihead")).attention
    theirs = nn.MultiheadAttention(64, 4)
    pairs = [
        (ours.qkv.weight, theirs.in_proj_weight),
        (ours.qkv.bias, theirs.in_proj_bias),
        (ours.out.weight, theirs.out_proj.weight),
        (ours.out.bias, theirs.out_proj.bias),
    ]
    for mine, other in pairs:
        found, expected = mine.detach(), other.detach()
        assert float(found.std()) == pytest.approx(float(expected.std()), rel=0.02)
        assert float(found.abs().max()) == pytest.approx(float(expected.abs().max()), rel=0.01)


def test_a_hidden_token_reaches_no_other():
    ours, x = block(), tokens()
    hidden = torch.zeros(len(x), dtype=torch.bool)
    hidden[7] = True
    changed = x.index_add(0, torch.tensor([7]), torch.ones(1, WIDTH, dtype=torch.float64))
    one, other = (ours(each, LENGTHS, hidden_P=hidden) for each in (x, changed))
    assert (one != other).any(1).nonzero().flatten().tolist() == [7]


@pytest.mark.parametrize("width", [128, 196, 256])
def test_pointgpts_block_has_its_parameters(width):
    found = count(width=width, heads=4, inner=4 * width)
    assert found == 12 * width**2 + 13 * width


def test_omnijets_block_has_its_parameters():
    d = 256
    found = count(width=d, heads=8, inner=4 * d, norm="post", activation="relu", bias_qkv=False)
    assert found == 3 * d**2 + (d**2 + d) + (8 * d**2 + 5 * d) + 4 * d
    assert 3 * found == 2_366_976


def test_omnijets_tokeniser_block_has_its_parameters():
    d, m = 128, 96
    found = count(width=d, heads=8, inner=m, norm="normformer")
    assert found == 2 * d + (4 * d * d + 4 * d) + 2 * d + 2 * d + (d * m + m + m * d + d)


def test_polarberts_blocks_have_their_parameters():
    d, h = 256, 1024
    style = {"width": d, "heads": 8, "inner": h, "bias_qkv": False, "bias_out": False}
    assert count(**style) == 4 * d * d + (d * h + h + h * d + d) + 4 * d
    gated = count(**style, activation="swiglu", bias_feed_forward=False)
    assert gated == 4 * d * d + 3 * d * h + 4 * d


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(ValueError, match="width 196 is not a multiple of heads 3: change either"):
        Style(width=196, heads=3, inner=784)


def test_a_block_learns_in_half_precision():
    ours, x = block(norm="post").train().bfloat16(), tokens().bfloat16()
    loss = functional.mse_loss(ours(x, LENGTHS, causal=True), x)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in ours.parameters())
