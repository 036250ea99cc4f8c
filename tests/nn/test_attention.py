"""A token sees its own event and nothing else, as softmax attention says, on every device."""

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.nn.attention import attend, by_runs, padded, ragged
from pipeline.nn.lengths import Lengths

SIZES = [[1], [5], [1, 1], [7, 7, 7], [3, 1, 9, 9, 2], [1, 40, 1], [33, 64, 64, 5]]
WAYS = [(causal, hides) for causal in (False, True) for hides in (False, True)]
PROTOTYPE = "ignore:The PyTorch API of nested tensors"
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no device: not compared")


def lengths_of(sizes, device="cpu"):
    return Lengths.of(torch.tensor([0, *sizes], device=device).cumsum(0))


def inputs(sizes, *, heads=2, channels=4, seed=0):
    """q, k, v (P, H, D) in float64, and a third of the tokens hidden (P)."""
    made = torch.Generator().manual_seed(seed)
    shape = (sum(sizes), heads, channels)
    qkv = [torch.randn(shape, generator=made, dtype=torch.float64) for _ in range(3)]
    return qkv, torch.rand(shape[0], generator=made) < 1 / 3


def naive(q, k, v, sizes, *, causal=False, hidden=None):
    """Σ_j softmax_j(q_i · k_j / √D) v_j, query by query, over the keys that it sees."""
    rows = []
    start = 0
    for size in sizes:
        for i in range(start, start + size):
            stop = i + 1 if causal else start + size
            seen = [j for j in range(start, stop) if j == i or hidden is None or not hidden[j]]
            scores = torch.einsum("hd,jhd->hj", q[i], k[seen]) / q.shape[-1] ** 0.5
            rows.append(torch.einsum("hj,jhd->hd", scores.softmax(-1), v[seen]))
        start += size
    return torch.stack(rows)


def gradients(result, values):
    weights = torch.linspace(-1, 1, result.numel(), dtype=result.dtype, device=result.device)
    return torch.autograd.grad((result * weights.view_as(result)).sum(), values)


def assert_same(found, expected, values, tolerance=1e-10):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    ours, theirs = gradients(found, values), gradients(expected, values)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("causal", "hides"), WAYS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_it_is_softmax_attention_forward_and_backward(sizes, causal, hides):
    qkv, hidden = inputs(sizes)
    qkv = [x.requires_grad_() for x in qkv]
    hidden = hidden if hides else None
    found = attend(*qkv, lengths_of(sizes), causal=causal, hidden_P=hidden)
    assert_same(found, naive(*qkv, sizes, causal=causal, hidden=hidden), qkv)


@pytest.mark.parametrize("channels", [1, 3, 49])
def test_heads_may_have_any_number_of_channels(channels):
    sizes = [4, 1, 6]
    qkv, hidden = inputs(sizes, channels=channels)
    qkv = [x.requires_grad_() for x in qkv]
    found = attend(*qkv, lengths_of(sizes), causal=True, hidden_P=hidden)
    assert_same(found, naive(*qkv, sizes, causal=True, hidden=hidden), qkv)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.integers(0, 99), st.booleans())
def test_it_is_softmax_attention_whatever_the_events(sizes, seed, causal):
    qkv, hidden = inputs(sizes, seed=seed)
    found = attend(*qkv, lengths_of(sizes), causal=causal, hidden_P=hidden)
    torch.testing.assert_close(found, naive(*qkv, sizes, causal=causal, hidden=hidden))


@pytest.mark.parametrize(("causal", "hides"), WAYS)
def test_an_event_does_not_notice_its_company(causal, hides):
    sizes = [6, 6, 1, 20, 3]
    qkv, hidden = inputs(sizes)
    hidden = hidden if hides else None
    together = attend(*qkv, lengths_of(sizes), causal=causal, hidden_P=hidden).split(sizes)
    for number, found in enumerate(together):
        alone = [x.split(sizes)[number] for x in qkv]
        hide = None if hidden is None else hidden.split(sizes)[number]
        expected = attend(
            *alone, lengths_of(sizes[number : number + 1]), causal=causal, hidden_P=hide
        )
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_what_is_broken_in_one_event_stays_there():
    sizes = [4, 4, 3]
    (q, k, v), _ = inputs(sizes)
    k[0] = torch.nan
    found = attend(q, k, v, lengths_of(sizes))
    assert found[:4].isnan().all()
    assert not found[4:].isnan().any()


def test_a_later_token_moves_nothing_before_it():
    sizes = [9, 9, 4]
    (q, k, v), _ = inputs(sizes)
    before = attend(q, k, v, lengths_of(sizes), causal=True)
    k[5], v[5] = k[5] + 1, v[5] - 1
    moved = (attend(q, k, v, lengths_of(sizes), causal=True) != before).flatten(1).any(1)
    assert moved.tolist() == [False] * 5 + [True] * 4 + [False] * 13


@pytest.mark.parametrize("causal", [False, True])
def test_a_hidden_token_moves_itself_alone(causal):
    sizes = [9, 3]
    (q, k, v), _ = inputs(sizes)
    hidden = torch.zeros(12, dtype=torch.bool)
    hidden[2] = True
    before = attend(q, k, v, lengths_of(sizes), causal=causal, hidden_P=hidden)
    k[2], v[2] = k[2] + 1, v[2] - 1
    after = attend(q, k, v, lengths_of(sizes), causal=causal, hidden_P=hidden)
    assert (after != before).flatten(1).any(1).nonzero().flatten().tolist() == [2]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_an_answer_has_the_precision_of_its_question(dtype):
    sizes = [5, 30, 2]
    exact, _ = inputs(sizes)
    rounded = [x.to(dtype) for x in exact]
    found = attend(*rounded, lengths_of(sizes))
    assert found.dtype == dtype
    expected = naive(*(x.double() for x in rounded), sizes)
    room = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), expected, rtol=room, atol=room)


def test_neighbours_of_one_length_are_one_run():
    lengths = lengths_of([3, 3, 1, 3, 7, 7, 7])
    assert lengths.runs == ((2, 3), (1, 1), (1, 3), (3, 7))
    assert (lengths.shortest, lengths.longest, lengths.tokens) == (1, 7, 31)


@pytest.mark.parametrize("offsets", [[0, 3, 3], [1, 3], [0, 4, 2], [0], []])
def test_offsets_that_cut_no_events_are_refused(offsets):
    with pytest.raises(ValueError, match="start at 0, and at least 1 token each"):
        Lengths.of(torch.tensor(offsets, dtype=torch.int64))


def test_lengths_of_other_tokens_are_refused():
    qkv, _ = inputs([4, 5])
    with pytest.raises(ValueError, match="9 tokens, but lengths of 8"):
        attend(*qkv, lengths_of([4, 4]))


@pytest.mark.filterwarnings(PROTOTYPE)
@pytest.mark.parametrize("channels", [8, 49])
def test_the_way_of_gpus_is_the_same_attention(channels):
    sizes = [4, 1, 6]
    qkv, _ = inputs(sizes, channels=channels)
    qkv = [x.requires_grad_() for x in qkv]
    assert_same(ragged(*qkv, lengths_of(sizes)), naive(*qkv, sizes), qkv)


def in_a_padded_call(q, k, v, lengths, *, dropout):
    """Attention with a bias of zero, -∞ where a key is padding."""
    bias = torch.zeros(len(lengths.offsets) - 1, 1, lengths.longest, lengths.longest)
    for event, size in enumerate(lengths.offsets.diff().tolist()):
        bias[event, :, :, size:] = -torch.inf
    return padded(q, k, v, lengths, bias, dropout=dropout)


@pytest.mark.filterwarnings(PROTOTYPE)
@pytest.mark.parametrize("way", [attend, by_runs, ragged, in_a_padded_call])
def test_weights_are_dropped_after_the_softmax_and_the_rest_scaled_up(way):
    torch.manual_seed(0)
    sizes = [2] * 50 + [3, 2, 3]
    q = torch.zeros(sum(sizes), 8, 4)
    found = way(q, q, torch.ones_like(q), lengths_of(sizes), dropout=0.25)
    # Two keys of weight 1/2 each, kept with probability 3/4 and then 4/3 times as much.
    values, counts = found[:100, :, 0].unique(return_counts=True)
    torch.testing.assert_close(values, torch.tensor([0, 2 / 3, 4 / 3]))
    expected = 800 * torch.tensor([1, 6, 9]) / 16
    assert bool(((counts - expected).abs() < 4 * expected.sqrt()).all())


@pytest.mark.gpu
@gpu
@pytest.mark.filterwarnings(PROTOTYPE)
@pytest.mark.parametrize(("dtype", "room"), [(torch.bfloat16, 3e-2), (torch.float32, 1e-4)])
@pytest.mark.parametrize("channels", [32, 49])
@pytest.mark.parametrize(("causal", "hides"), WAYS)
def test_a_gpu_answers_as_a_cpu(causal, hides, channels, dtype, room):
    sizes = [33, 1, 64, 64, 5, 200]
    qkv, hidden = inputs(sizes, channels=channels)
    there = [x.to("cuda", dtype).requires_grad_() for x in qkv]
    here = [x.detach().double().cpu().requires_grad_() for x in there]
    hide = hidden.cuda() if hides else None
    found = attend(*there, lengths_of(sizes, "cuda"), causal=causal, hidden_P=hide)
    hide = hidden if hides else None
    expected = by_runs(*here, lengths_of(sizes), causal=causal, hidden_P=hide)
    torch.testing.assert_close(found.cpu().double(), expected, rtol=room, atol=room)
    for one, other in zip(gradients(found, there), gradients(expected, here), strict=True):
        torch.testing.assert_close(one.cpu().double(), other, rtol=room, atol=room)
