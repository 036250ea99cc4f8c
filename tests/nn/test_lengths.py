"""Lengths of events: what is told from the runs on the CPU is what the offsets say."""

import pytest

torch = pytest.importorskip("torch")

from pipeline.nn.lengths import Lengths

SIZES = [[1], [5, 5, 5], [2, 1, 1, 6], [7]]


def lengths_of(sizes):
    return Lengths.of(torch.tensor([0, *sizes]).cumsum(0))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_each_token_knows_its_event(sizes):
    lengths = lengths_of(sizes)
    assert (lengths.events, lengths.tokens) == (len(sizes), sum(sizes))
    assert (lengths.shortest, lengths.longest) == (min(sizes), max(sizes))
    assert lengths.sizes.tolist() == sizes
    assert lengths.event.tolist() == [n for n, size in enumerate(sizes) for _ in range(size)]
    assert lengths.index_in_event.tolist() == [place for size in sizes for place in range(size)]
    assert (lengths.starts + lengths.index_in_event).tolist() == list(range(sum(sizes)))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_what_is_spread_over_events_is_that_of_each(sizes):
    lengths, values = lengths_of(sizes), torch.rand(len(sizes), 2)
    assert torch.equal(lengths.spread(values), values[lengths.event])


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_padding_keeps_each_token(sizes):
    lengths, values = lengths_of(sizes), torch.rand(sum(sizes), 3)
    filled = lengths.filled(values)
    assert filled.shape == (len(sizes), max(sizes), 3)
    assert torch.equal(filled[lengths.event, lengths.index_in_event], values)
    assert torch.equal(filled.flatten(0, 1)[lengths.padded], values)
    assert torch.isclose(filled.sum(), values.sum())


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_derived_lengths_agree_with_their_offsets(sizes):
    lengths = lengths_of(sizes)
    longer = lengths.longer(2)
    assert longer.sizes.tolist() == [size + 2 for size in sizes]
    assert longer.runs == Lengths.of(longer.offsets).runs
    each = lengths.of_tokens(lengths.spread(lengths.sizes), lambda size: size)
    assert each.sizes.tolist() == [size for size in sizes for _ in range(size)]
    assert each.runs == Lengths.of(each.offsets).runs


def test_equal_events_are_one_run():
    equal = Lengths.equal(3, 4, torch.device("cpu"))
    assert equal.offsets.tolist() == [0, 4, 8, 12]
    assert equal.runs == Lengths.of(equal.offsets).runs == ((3, 4),)


@pytest.mark.parametrize("offsets", [[1, 3], [0, 2, 2], [0, 3, 1], []])
def test_what_cuts_no_events_is_refused(offsets):
    with pytest.raises(ValueError, match="do not cut events: start at 0, and at least 1 token"):
        Lengths.of(torch.tensor(offsets))
