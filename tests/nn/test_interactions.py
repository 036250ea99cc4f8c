"""Pairwise features are what the papers say, and a bias of attention is added where it belongs."""

import math

import pytest

torch = pytest.importorskip("torch")

from pydantic import ValidationError

from pipeline.data.errors import BadInput
from pipeline.families.interactions import INTERACTIONS, Interaction, interaction_of, with_columns
from pipeline.nn.attention import Bias, attend, single_query_attention
from pipeline.nn.interactions import features, jets, jets8
from pipeline.nn.lengths import Lengths
from pipeline.nn.pairs import Pairs

SIZES = [[1], [5], [7, 7, 7], [3, 1, 9, 9, 2], [1, 40, 1]]
WAYS = [(causal, hides) for causal in (False, True) for hides in (False, True)]


def lengths_of(sizes):
    return Lengths.of(torch.tensor([0, *sizes]).cumsum(0))


def particle(pt, eta, phi, mass=0.0):
    """(4): px, py, pz, energy."""
    pz = pt * math.sinh(eta)
    energy = math.sqrt(pt**2 + pz**2 + mass**2)
    return torch.tensor([pt * math.cos(phi), pt * math.sin(phi), pz, energy], dtype=torch.float64)


def particles(count, *, seed=0):
    """(P, 4) of massive particles."""
    made = torch.Generator().manual_seed(seed)
    draws = torch.rand(count, 4, generator=made, dtype=torch.float64)
    return torch.stack(
        [particle(1 + 99 * a, 2 * b - 1, 6 * c - 3, d) for a, b, c, d in draws.tolist()]
    )


def test_two_massless_particles_worked_by_hand():
    found = jets(particle(30, 0.5, 3.0), particle(10, 0.2, -3.0))
    azimuth = 2 * math.pi - 6  # across the cut at π
    distance = math.hypot(0.3, azimuth)
    squared = 2 * 30 * 10 * (math.cosh(0.3) - math.cos(azimuth))
    expected = [math.log(each) for each in (10 * distance, 0.25, distance, squared)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_the_distance_of_massive_particles_is_in_rapidity():
    a, b = particle(3, 1.0, 0.1, mass=4.0), particle(3, 1.0, 0.1)
    rapidity = 0.5 * math.log((a[3] + a[2]) / (a[3] - a[2]))
    distance = 1.0 - rapidity
    assert jets(a, b)[2].exp().item() == pytest.approx(distance)
    energy, pz = (a + b)[3], (a + b)[2]
    assert jets(a, b)[3].exp().item() == pytest.approx(float(energy**2 - pz**2 - 36))


def test_the_order_of_two_particles_is_nothing():
    a, b = particles(50), particles(50, seed=1)
    assert torch.equal(jets(a, b), jets(b, a))


def test_a_rotation_about_the_beam_and_a_boost_along_it_are_nothing():
    a, b = particles(50), particles(50, seed=1)

    def moved(p):
        px, py, pz, energy = p.unbind(1)
        c, s, ch, sh = math.cos(2.5), math.sin(2.5), math.cosh(0.4), math.sinh(0.4)
        return torch.stack([c * px - s * py, s * px + c * py, ch * pz + sh * energy,
                            ch * energy + sh * pz], 1)  # fmt: skip

    torch.testing.assert_close(jets(moved(a), moved(b)), jets(a, b))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_is_without_a_number(dtype):
    soft, hard = particle(1e-4, 2, 1), particle(1e3, 2, 1)
    nothing, along = torch.zeros(4), torch.tensor([0.0, 0.0, 50.0, 50.0])
    several = torch.stack([each.to(dtype) for each in (soft, hard, hard * 2, nothing, along)])
    found = jets(several[:, None], several[None])
    assert found.dtype == dtype
    assert found.isfinite().all()
    floor = math.log(1e-8)
    assert found[1, 1, [0, 2]].tolist() == pytest.approx([floor, floor]), "a particle with itself"
    assert found[1, 1, 1].item() == pytest.approx(math.log(0.5))
    assert found.min().item() == pytest.approx(floor)


def test_pairs_stand_in_the_order_that_attention_takes_them():
    pairs = Pairs(lengths_of([2, 1, 3]))
    query, key = pairs.ordered
    assert query.tolist() == [0, 0, 1, 1, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5]
    assert key.tolist() == [0, 1, 0, 1, 2, 3, 4, 5, 3, 4, 5, 3, 4, 5]
    query, key = pairs.unordered
    assert query.tolist() == [0, 1, 1, 2, 3, 4, 4, 5, 5, 5]
    assert key.tolist() == [0, 0, 1, 2, 3, 3, 4, 3, 4, 5]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_of_a_symmetric_function_half_is_all(sizes):
    pairs, points = Pairs(lengths_of(sizes)), particles(sum(sizes))
    known = INTERACTIONS["jets"]
    half = features(known, points, pairs)
    whole = features(known.model_copy(update={"symmetric": False}), points, pairs)
    torch.testing.assert_close(half[pairs.mirrored], whole)


def plain(q, k, v, sizes, values, *, causal, hidden):
    """Softmax attention with a bias (S, H), event by event, on dense matrices."""
    outputs = []
    squares = [size * size for size in sizes]
    hides = hidden.split(sizes) if hidden is not None else [None] * len(sizes)
    parts = zip(*(each.split(sizes) for each in (q, k, v)), values.split(squares), hides,
                strict=True)  # fmt: skip
    for a, b, c, bias, hide in parts:
        size = len(a)
        scores = torch.einsum("ihd,jhd->hij", a, b) / a.shape[-1] ** 0.5
        scores = scores + bias.view(size, size, -1).permute(2, 0, 1)
        seen = torch.ones(size, size, dtype=torch.bool)
        if hide is not None:
            seen = ~hide[None, :] | torch.eye(size, dtype=torch.bool)
        scores = scores.masked_fill(~(seen.tril() if causal else seen), -torch.inf)
        outputs.append(torch.einsum("hij,jhd->ihd", scores.softmax(-1), c))
    return torch.cat(outputs)


def tensors(sizes, heads=2, channels=4):
    made = torch.Generator().manual_seed(0)
    shapes = [(sum(sizes), heads, channels)] * 3 + [(sum(each**2 for each in sizes), heads)]
    several = [torch.randn(shape, generator=made, dtype=torch.float64) for shape in shapes]
    hidden = torch.rand(sum(sizes), generator=made) < 1 / 3
    return [each.requires_grad_() for each in several], hidden


@pytest.mark.parametrize("as_on_a_gpu", [False, True])
@pytest.mark.parametrize(("causal", "hides"), WAYS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_a_bias_is_added_to_the_scores_forward_and_backward(sizes, causal, hides, as_on_a_gpu):
    (q, k, v, values), hidden = tensors(sizes)
    hidden = hidden if hides else None
    pairs = Pairs(lengths_of(sizes))
    bias = Bias(padded=pairs.padded(values)) if as_on_a_gpu else pairs.bias(values)
    found = attend(q, k, v, pairs.lengths, causal=causal, hidden_P=hidden, bias=bias)
    expected = plain(q, k, v, sizes, values, causal=causal, hidden=hidden)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    upstream = torch.linspace(-1, 1, found.numel(), dtype=found.dtype).view_as(found)
    several = (q, k, v, values)
    ours = torch.autograd.grad((found * upstream).sum(), several)
    theirs = torch.autograd.grad((expected * upstream).sum(), several)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_an_event_of_which_all_is_hidden_spoils_no_slope():
    sizes = [1, 4]
    (q, k, v, values), _ = tensors(sizes)
    pairs, hidden = Pairs(lengths_of(sizes)), torch.tensor([True, False, False, False, False])
    bias = Bias(padded=pairs.padded(values))
    attend(q, k, v, pairs.lengths, hidden_P=hidden, bias=bias).sum().backward()
    assert all(each.grad.isfinite().all() for each in (q, k, v, values))


@pytest.mark.parametrize("as_on_a_gpu", [False, True])
def test_an_event_does_not_notice_its_company(as_on_a_gpu):
    sizes = [3, 9, 9, 1, 4]
    (q, k, v, values), _ = tensors(sizes)

    def seen(rows, several, numbers):
        pairs = Pairs(lengths_of(several))
        bias = Bias(padded=pairs.padded(numbers)) if as_on_a_gpu else pairs.bias(numbers)
        return attend(q[rows], k[rows], v[rows], pairs.lengths, bias=bias)

    together = seen(slice(None), sizes, values).split(sizes)
    start = 0
    for event, size in enumerate(sizes):
        bias = values.split([each**2 for each in sizes])[event]
        alone = seen(slice(start, start + size), [size], bias)
        torch.testing.assert_close(together[event], alone, rtol=1e-12, atol=1e-12)
        start += size


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_bias_in_half_precision(dtype):
    sizes = [5, 30, 2]
    (q, k, v, values), _ = tensors(sizes)
    pairs = Pairs(lengths_of(sizes))
    rounded = [each.detach().to(dtype) for each in (q, k, v, values)]
    found = attend(*rounded[:3], pairs.lengths, bias=pairs.bias(rounded[3]))
    assert found.dtype == dtype
    expected = plain(*(each.double() for each in rounded[:3]), sizes, rounded[3].double(),
                     causal=False, hidden=None)  # fmt: skip
    room = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), expected, rtol=room, atol=room)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_a_glance_is_attention_of_one_query_an_event(sizes):
    (_, k, v, _), _ = tensors(sizes)
    q = torch.randn(len(sizes), 2, 4, dtype=torch.float64, requires_grad=True)
    found = single_query_attention(q, k, v, lengths_of(sizes))
    rows = []
    for one, keys, values in zip(q, k.split(sizes), v.split(sizes), strict=True):
        shares = (torch.einsum("hd,jhd->hj", one, keys) / 2).softmax(-1)
        rows.append(torch.einsum("hj,jhd->hd", shares, values))
    expected = torch.stack(rows)
    torch.testing.assert_close(found, expected)
    ours = torch.autograd.grad(found.square().sum(), (q, k, v))
    theirs = torch.autograd.grad(expected.square().sum(), (q, k, v))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_scores_of_any_size_are_no_trouble_to_a_glance():
    q = torch.full((1, 1, 4), 1e4)
    found = single_query_attention(
        q, torch.ones(3, 1, 4), torch.arange(12.0).view(3, 1, 4), lengths_of([3])
    )
    torch.testing.assert_close(found, torch.tensor([[[4.0, 5.0, 6.0, 7.0]]]))


def test_a_users_own_interaction(tmp_path):
    file = tmp_path / "halos.py"
    file.write_text("def pairs(a, b):\n    return (a - b).norm(dim=-1, keepdim=True)\n")
    mine = Interaction(function=f"{file}:pairs", columns=("x", "y"), features=1)
    pairs = Pairs(lengths_of([2]))
    found = features(mine, torch.tensor([[0.0, 0.0], [3.0, 4.0]]), pairs)
    assert found.tolist() == [[0.0], [5.0], [5.0], [0.0]]
    assert with_columns(("mass", "x"), mine) == ("mass", "x", "y")
    assert mine.places(("mass", "x", "y")) == [1, 2]
    wrong = mine.model_copy(update={"features": 3})
    with pytest.raises(BadInput, match=r"returned \(4, 1\) of 4 pairs; expected \(4, 3\)"):
        features(wrong, torch.zeros(2, 2), pairs)


def test_what_cannot_be_is_refused_by_name(tmp_path):
    with pytest.raises(ValidationError, match="no such file"):
        Interaction(function=f"{tmp_path}/none.py:pairs", columns=("x",), features=1)
    (tmp_path / "mine.py").write_text("def pairs(a, b): ...")
    with pytest.raises(ValidationError, match=r"mine\.py: defines no 'pair'"):
        Interaction(function=f"{tmp_path}/mine.py:pair", columns=("x",), features=1)
    with pytest.raises(ValidationError, match="give one or more, each once"):
        Interaction(function="a:b", columns=("x", "x"), features=1)
    with pytest.raises(ValidationError, match=r"expected file\.py:name"):
        Interaction(function="pairs", columns=("x",), features=1)


def test_a_particle_leaves_a_pair_opposite_to_the_other():
    a, b = particles(30), particles(30, seed=1)
    there, back = jets8(a, b), jets8(b, a)
    torch.testing.assert_close(there[:, :5], back[:, :5])
    torch.testing.assert_close(there[:, 5:], -back[:, 5:], rtol=0, atol=1e-9)
    assert (there[:, 5].abs() <= 1 + 1e-9).all()
    light = torch.stack([particle(5, 0.2, 1), particle(2, 0.2, 1, 40.0)])
    assert jets8(light[1], light[0])[5] == pytest.approx(1), "the fast one leaves along the pair"
    assert not jets8(a, a)[:, 5].any(), "with itself"


def test_known_interactions_have_names():
    assert interaction_of("") is None
    assert interaction_of("jets") is INTERACTIONS["jets"]
    assert with_columns(("deta", "energy"), "jets") == ("deta", "energy", "px", "py", "pz")
